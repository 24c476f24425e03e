// What kernels of winograd_s8 with 256-bit vectors have for tiles.h. For ISA files only.
//
// Tile: up to 6 tiles of the image x 16 columns, 12 accumulators, for each position of a transform.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/inlining.h"
#include "kernels/rows_avx2.h"
#include "kernels/winograd_s8/tiles.h"

namespace zeropoint::winograd_s8 {
namespace {

ZEROPOINT_INLINE __m256i broadcast_pair(const int16_t* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof v);
  return _mm256_set1_epi32(v);
}

// MR tiles of one position by one panel, summed over the channels.
template <typename Dot, int MR>
void multiply(const int16_t* x, size_t depth, size_t pairs, const uint8_t* weights, int32_t* sums) {
  __m256i acc[MR][2];
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
  for (size_t k = 0; k < pairs; ++k, x += 2, weights += 64) {
    const __m256i w0 = load_256(weights), w1 = load_256(weights + 32);
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i pair = broadcast_pair(x + static_cast<size_t>(r) * depth);
      Dot::add(acc[r][0], pair, w0);
      Dot::add(acc[r][1], pair, w1);
    }
  }
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) {
    store_256(sums + r * kNr, acc[r][0]);
    store_256(sums + r * kNr + 8, acc[r][1]);
  }
}

// Dot::add(acc, x, w): acc += the products of each dword's two s16, modulo 2^32.
template <typename Dot>
struct Ymm {
  static constexpr Isa kIsa = Dot::kIsa;
  static constexpr int kMr = 6;
  static constexpr size_t kSumBytes = 25 * 1024;
  static constexpr void (*kMultiply[kMr])(const int16_t*, size_t, size_t, const uint8_t*,
                                          int32_t*) = {multiply<Dot, 1>, multiply<Dot, 2>,
                                                       multiply<Dot, 3>, multiply<Dot, 4>,
                                                       multiply<Dot, 5>, multiply<Dot, 6>};
  using Words __attribute__((vector_size(32))) = uint16_t;
  using Dwords __attribute__((vector_size(32))) = uint32_t;
  using SignedDwords __attribute__((vector_size(32))) = int32_t;
  using Bounds = RowBounds;

  static ZEROPOINT_INLINE Words load_channels(const act_t* x) {
    return (Words)_mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  static ZEROPOINT_INLINE Words load_weights(const int8_t* w) {
    return (Words)_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  }

  // Stores what row(sums, pixel) makes of a pixel's 16 sums. kFromZero: by RowScaling::from_zero.
  template <bool kFromZero, typename Panel, typename Row>
  static ZEROPOINT_INLINE void store(const Panel& panel, const OutputClamp& clamp, const Row& row) {
    const RunArgs& args = panel.args;
    const int n0 = panel.n0, columns = panel.columns, width = args.image.out_width;
    panel.for_each_tile(kFromZero ? kTwo23Bits : 0, [&](const auto& pixels, ptrdiff_t first,
                                                        int tile_rows,
                                                        int tile_columns) ZEROPOINT_LAMBDA {
      for (int i = 0; i < tile_rows; ++i, first += width) {
        for (int j = 0; j < tile_columns; j += 2) {
          const ptrdiff_t pixel = first + j;
          const bool two = j + 1 < tile_columns;
          const __m256i sums[2][2] = {{(__m256i)pixels[0][i][j], (__m256i)pixels[1][i][j]},
                                      {(__m256i)pixels[0][i][j + 1], (__m256i)pixels[1][i][j + 1]}};
          const __m256i first_row = row(sums[0], pixel);
          const __m256i second_row = two ? row(sums[1], pixel + 1) : first_row;
          const __m256i bytes = narrow_rows<!kFromZero>(first_row, second_row, clamp);
          act_t* c = args.c + pixel * args.c_stride + n0;
          store_row(c, _mm256_castsi256_si128(bytes), columns);
          if (two) store_row(c + args.c_stride, _mm256_extracti128_si256(bytes, 1), columns);
        }
      }
    });
  }

  template <RowScaling kScaling, typename Panel>
  static void scale(const Panel& panel, const RowOutput& out) {
    store<kScaling == RowScaling::from_zero>(
        panel, out.clamp, [&](const __m256i(&acc)[2], ptrdiff_t) ZEROPOINT_LAMBDA {
          return scale_row<kScaling>(acc, panel.header.multiplier, out);
        });
  }

  template <typename Panel>
  static void finish(const Panel& panel) {
    const RowOutput out(panel.args.clamp, panel.args.residual);
    if (out.residual != nullptr) {
      const Residual& residual = *out.residual;
      store<false>(
          panel, residual.clamp, [&](const __m256i(&acc)[2], ptrdiff_t pixel) ZEROPOINT_LAMBDA {
            return add_row(
                acc, panel.header.multiplier, out, residual,
                load_row(residual.data + pixel * residual.stride + panel.n0, panel.columns));
          });
    } else if (scales_from_zero(panel.header.bounds, out)) {
      scale<RowScaling::from_zero>(panel, out);
    } else if (panel.header.bounds.bounded != 0) {
      scale<RowScaling::bounded>(panel, out);
    } else {
      scale<RowScaling::any>(panel, out);
    }
  }
};

}  // namespace
}  // namespace zeropoint::winograd_s8
