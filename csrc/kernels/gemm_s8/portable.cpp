// gemm_s8 in plain C++: 4x16 tiles over panels of 16 columns, packed as
//   { int32 bias[16]; float multiplier[16]; int8 weights[taps * depth][16] }.
// The products are written as s16 x s16 -> s32, which compilers turn into widening multiplies.
#include <cstring>

#include "kernels/gemm_s8/gemm_s8_kernels.h"

namespace zeropoint::gemm_s8 {
namespace {

constexpr int kMr = 4;
constexpr int kNr = 16;
constexpr size_t kHeaderBytes = kNr * (sizeof(int32_t) + sizeof(float));

size_t panel_bytes(int taps, int depth) {
  return kHeaderBytes + static_cast<size_t>(taps) * static_cast<size_t>(depth) * kNr;
}

size_t packed_bytes(int n, int taps, int depth) {
  return (static_cast<size_t>(n) + kNr - 1) / kNr * panel_bytes(taps, depth);
}

size_t scratch_bytes(int, int, int) { return 0; }

void pack(const PackArgs& args, void* packed) {
  const size_t k_total = static_cast<size_t>(args.taps) * static_cast<size_t>(args.depth);
  unsigned char* out = static_cast<unsigned char*>(packed);
  std::memset(out, 0, packed_bytes(args.n, args.taps, args.depth));
  for (int n0 = 0; n0 < args.n; n0 += kNr, out += panel_bytes(args.taps, args.depth)) {
    const int columns = args.n - n0 < kNr ? args.n - n0 : kNr;
    const size_t count = static_cast<size_t>(columns);
    std::memcpy(out, args.bias + n0, count * sizeof(int32_t));
    if (args.multiplier != nullptr) {
      std::memcpy(out + kNr * sizeof(int32_t), args.multiplier + n0, count * sizeof(float));
    }
    int8_t* weights = reinterpret_cast<int8_t*>(out + kHeaderBytes);
    for (int j = 0; j < columns; ++j) {
      const int8_t* column = args.weights + static_cast<size_t>(n0 + j) * k_total;
      for (size_t k = 0; k < k_total; ++k) weights[k * kNr + static_cast<size_t>(j)] = column[k];
    }
  }
}

// One tile of MR rows by a panel's columns, of which the first `columns` are stored.
template <int MR>
void tile(const RunArgs& args, const unsigned char* panel, int64_t m, int n0, int columns) {
  int32_t acc[MR][kNr];
  for (int r = 0; r < MR; ++r) std::memcpy(acc[r], panel, sizeof(acc[r]));
  const int8_t* w = reinterpret_cast<const int8_t*>(panel + kHeaderBytes);
  for (int t = 0; t < args.a.taps; ++t) {
    const act_t* a[MR];
    for (int r = 0; r < MR; ++r) a[r] = row_run(args.a, m + r, t);
    for (int k = 0; k < args.a.depth; ++k, w += kNr) {
      int16_t wide[kNr];
      for (int j = 0; j < kNr; ++j) wide[j] = w[j];
      for (int r = 0; r < MR; ++r) {
        const int16_t x = a[r][k];
        for (int j = 0; j < kNr; ++j) acc[r][j] += static_cast<int32_t>(x) * wide[j];
      }
    }
  }
  float multiplier[kNr];
  std::memcpy(multiplier, panel + kNr * sizeof(int32_t), sizeof(multiplier));
  for (int r = 0; r < MR; ++r) {
    const ptrdiff_t at = (m + r) * args.c_stride + n0;
    if (args.c_s32 != nullptr) {
      std::memcpy(args.c_s32 + at, acc[r], static_cast<size_t>(columns) * sizeof(int32_t));
    } else {
      act_t row[kNr];
      for (int j = 0; j < columns; ++j) row[j] = requantize(acc[r][j], multiplier[j], args.clamp);
      const Residual& residual = args.residual;
      if (residual.data != nullptr) {
        const act_t* other = residual.data + (m + r) * residual.stride + n0;
        for (int j = 0; j < columns; ++j) {
          row[j] = add(row[j], args.clamp.zero_point, residual.multiplier_c, other[j],
                       residual.zero_point, residual.multiplier, residual.clamp);
        }
      }
      std::memcpy(args.c + at, row, static_cast<size_t>(columns) * sizeof(act_t));
    }
  }
}

void run(const RunArgs& args) {
  const size_t stride = panel_bytes(args.a.taps, args.a.depth);
  for (int n0 = args.n_begin; n0 < args.n_end; n0 += kNr) {
    const unsigned char* panel =
        static_cast<const unsigned char*>(args.packed) + static_cast<size_t>(n0 / kNr) * stride;
    const int columns = args.n_end - n0 < kNr ? args.n_end - n0 : kNr;
    int64_t m = args.m_begin;
    for (; m + kMr <= args.m_end; m += kMr) tile<kMr>(args, panel, m, n0, columns);
    for (; m < args.m_end; ++m) tile<1>(args, panel, m, n0, columns);
  }
}

constexpr Kernel kKernels[] = {
    {"gemm_s8_4x16_portable", Isa::portable, nullptr, packed_bytes, pack, scratch_bytes, run, kMr,
     kNr},
};

}  // namespace

KernelSpan<Kernel> portable_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
