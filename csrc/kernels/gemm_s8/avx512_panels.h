// How gemm_s8 packs weights for AVX-512 VNNI.
//
// A header, then panels of 64 columns, the last padded only to a multiple of 16:
//   { int32 bias[w]; float multiplier[w]; int8 weights[taps * ceil(depth / 4)][w][4] }
// Padded columns and the padding of depth hold zero weights, so whatever bytes A has there add 0.
// In panels of 64, the columns are in the order in which packing four vectors of dwords to bytes
// leaves them in theirs (see stored_column).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/rows_avx512.h"

namespace zeropoint::gemm_s8 {
namespace {

constexpr int kPanel = 64;
constexpr int kMaxHeight = 16;
static_assert(kPanel == kColumnBlock, "threads split columns at panel borders");

// What precedes the panels.
struct alignas(64) Header {
  // All multipliers are below 1 in magnitude: no product of one and a sum can leave int32.
  bool bounded;
};

size_t k_steps(int taps, int depth) {
  return static_cast<size_t>(taps) * ((static_cast<size_t>(depth) + 3) / 4);
}

size_t panel_bytes(size_t width, size_t steps) {
  return width * (sizeof(int32_t) + sizeof(float) + 4 * steps);
}

// Columns of the panel that starts at n0, as stored.
int panel_width(int n, int n0) {
  const int rest = n - n0;
  return rest >= kPanel ? kPanel : (rest + kLanes - 1) / kLanes * kLanes;
}

size_t packed_bytes(int n, int taps, int depth) {
  const size_t steps = k_steps(taps, depth);
  size_t bytes = sizeof(Header) + static_cast<size_t>(n / kPanel) * panel_bytes(kPanel, steps);
  if (n % kPanel != 0) {
    bytes += panel_bytes(static_cast<size_t>(panel_width(n, n / kPanel * kPanel)), steps);
  }
  return bytes;
}

// Where a panel of `width` columns holds its column j. vpackssdw and vpackuswb work within 128-bit
// lanes: byte 16 l + 4 v + i comes from dword 4 l + i of vector v. Narrower panels join rows, and
// permute what they store instead.
size_t stored_column(size_t width, size_t j) {
  return width == kPanel ? j / 4 % 4 * 16 + j / 16 * 4 + j % 4 : j;
}

// The pointers to the runs of a tile's rows.
size_t scratch_bytes(int, int taps, int) {
  return static_cast<size_t>(kMaxHeight) * static_cast<size_t>(taps) * sizeof(const act_t*);
}

void pack(const PackArgs& args, void* packed) {
  const size_t depth = static_cast<size_t>(args.depth);
  Header header = {true};
  for (int j = 0; args.multiplier != nullptr && j < args.n; ++j) {
    header.bounded = header.bounded && args.multiplier[j] < 1.0f && args.multiplier[j] > -1.0f;
  }
  uint8_t* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, sizeof(header));
  std::memcpy(out, &header.bounded, sizeof(header.bounded));
  out += sizeof(header);
  for (int n0 = 0; n0 < args.n; n0 += kPanel) {
    const size_t width = static_cast<size_t>(panel_width(args.n, n0));
    const size_t bytes = panel_bytes(width, k_steps(args.taps, args.depth));
    const size_t rest = static_cast<size_t>(args.n - n0);
    const size_t columns = rest < width ? rest : width;
    std::memset(out, 0, bytes);
    auto* bias = reinterpret_cast<int32_t*>(out);
    auto* multiplier = reinterpret_cast<float*>(bias + width);
    uint8_t* weights = out + width * (sizeof(int32_t) + sizeof(float));
    for (size_t j = 0; j < columns; ++j) {
      const int8_t* column =
          args.weights + (static_cast<size_t>(n0) + j) * static_cast<size_t>(args.taps) * depth;
      const size_t at = stored_column(width, j);
      bias[at] = args.bias[static_cast<size_t>(n0) + j];
      if (args.multiplier != nullptr) {
        multiplier[at] = args.multiplier[static_cast<size_t>(n0) + j];
      }
      uint8_t* to = weights + at * 4;
      for (int t = 0; t < args.taps; ++t, column += depth) {
        for (size_t k = 0; k + 4 <= depth; k += 4, to += width * 4) std::memcpy(to, column + k, 4);
        if (depth % 4 != 0) {
          std::memcpy(to, column + depth / 4 * 4, depth % 4);
          to += width * 4;
        }
      }
    }
    out += bytes;
  }
}

}  // namespace
}  // namespace zeropoint::gemm_s8
