#include "kernels/gemm_f32/gemm_f32_kernels.h"

namespace zeropoint::gemm_f32 {
namespace {

void pack(const PackArgs& args, int panel_columns, void* packed) {
  const int64_t k_count = static_cast<int64_t>(args.taps) * args.depth;
  float* out = static_cast<float*>(packed);
  for (int column = 0; column < args.n; column += panel_columns) {
    const int width = panel_width(args.n, panel_columns, column);
    const int used = args.n - column < width ? args.n - column : width;
    for (int j = 0; j < width; ++j) {
      *out++ = j < used && args.bias != nullptr ? args.bias[column + j] : 0.0f;
    }
    const float* first = args.weights + column * args.n_stride;
    for (int64_t k = 0; k < k_count; ++k) {
      const float* row = first + k * args.k_stride;
      for (int j = 0; j < used; ++j) out[j] = row[j * args.n_stride];
      for (int j = used; j < width; ++j) out[j] = 0.0f;
      out += width;
    }
  }
}

}  // namespace

size_t packed_bytes(int n, int taps, int depth) {
  const size_t columns = (static_cast<size_t>(n) + kPad - 1) / kPad * kPad;
  return columns * (1 + static_cast<size_t>(taps) * static_cast<size_t>(depth)) * sizeof(float);
}

void pack_16(const PackArgs& args, void* packed) { pack(args, 16, packed); }
void pack_64(const PackArgs& args, void* packed) { pack(args, 64, packed); }

}  // namespace zeropoint::gemm_f32
