// winograd_s8 for AVX-512 VNNI: vpdpwssd (two products of s16 added to s32, modulo 2^32).
//
// Tile: up to 12 tiles of the image x 16 columns, 12 accumulators, for each position of a
// transform. A step takes two channels of each tile, broadcast from the transforms.
// Packed layout and bound: tiles.h.
//
// By count, F(4x4) takes half the dot products of gemm_s8, whose vpdpbusd adds four, and transforms
// besides; F(2x2) would take as many.
#include "kernels/inlining.h"
#include "kernels/rows_avx512.h"
#include "kernels/winograd_s8/tiles.h"
#include "kernels/winograd_s8/winograd_s8_kernels.h"

namespace zeropoint::winograd_s8 {
namespace {

// acc += the products of each dword of w with the pair at p. Tied operands, as GCC copies
// accumulators back and forth for the intrinsic.
ZEROPOINT_INLINE void dot_pair(__m512i& acc, __m512i w, const int16_t* p) {
  using Pair = int16_t[2];
  __asm__("vpdpwssd %2%{1to16%}, %1, %0"
          : "+v"(acc)
          : "v"(w), "m"(*reinterpret_cast<const Pair*>(p)));
}

// MR tiles of one position by one panel, summed over the channels.
template <int MR>
void multiply(const int16_t* x, size_t depth, size_t pairs, const uint8_t* weights, int32_t* sums) {
  __m512i acc[MR];
  unroll<MR>([&](auto r) ZEROPOINT_LAMBDA { acc[r] = _mm512_setzero_si512(); });
  for (size_t k = 0; k < pairs; ++k, x += 2, weights += 64) {
    const __m512i w = _mm512_loadu_si512(weights);
    unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
      dot_pair(acc[r], w, x + static_cast<size_t>(r.value) * depth);
    });
  }
  unroll<MR>([&](auto r) ZEROPOINT_LAMBDA { _mm512_storeu_si512(sums + r * kNr, acc[r]); });
}

struct Avx512Vnni {
  static constexpr Isa kIsa = Isa::avx512vnni;
  static constexpr int kMr = 12;
  static constexpr size_t kSumBytes = 28 * 1024;
  static constexpr void (*kMultiply[kMr])(const int16_t*, size_t, size_t, const uint8_t*,
                                          int32_t*) = {
      multiply<1>, multiply<2>, multiply<3>, multiply<4>,  multiply<5>,  multiply<6>,
      multiply<7>, multiply<8>, multiply<9>, multiply<10>, multiply<11>, multiply<12>};
  using Words __attribute__((vector_size(64))) = uint16_t;
  using Dwords __attribute__((vector_size(64))) = uint32_t;
  using SignedDwords __attribute__((vector_size(64))) = int32_t;
  struct Bounds {  // nothing is to be known: requantization takes any multipliers
    void add_column(const int8_t*, size_t, int32_t, float) {}
  };

  static ZEROPOINT_INLINE Words load_channels(const act_t* x) {
    return (Words)_mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
  static ZEROPOINT_INLINE Words load_weights(const int8_t* w) {
    return (Words)_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }

  // kPixels pixels of the tile's row I, which lie side by side.
  template <int kPixels, bool kAdd, int I, typename Pixels>
  static ZEROPOINT_INLINE void store_pixels(const RowTarget& to, const Pixels& pixels,
                                            const float* multiplier) {
    __m512i sums[kPixels][1];
    unroll<kPixels>([&](auto j) ZEROPOINT_LAMBDA { sums[j][0] = (__m512i)pixels[0][I][j]; });
    store_s8<kPixels, 1, kAdd, false, false>(to, sums, multiplier);
  }

  template <bool kAdd, typename Panel>
  static void store(const Panel& panel) {
    const RunArgs& args = panel.args;
    const Residual& residual = args.residual;
    const RowConstants constants = row_constants(args.clamp, residual);
    const float* multiplier = panel.header.multiplier;
    const ptrdiff_t width = args.image.out_width;
    RowTarget to = {};
    to.c_stride = args.c_stride;
    to.residual_stride = residual.stride;
    to.whole = panel.columns == kNr;
    to.mask = (__mmask64{1} << panel.columns) - 1;
    to.constants = &constants;
    panel.for_each_tile(
        0, [&](const auto& pixels, ptrdiff_t pixel, int rows, int columns) ZEROPOINT_LAMBDA {
          constexpr int kTile = Panel::kTile;
          unroll<kTile>([&](auto i) ZEROPOINT_LAMBDA {
            if (i >= rows) return;
            const ptrdiff_t first = pixel + i * width;
            to.c = args.c + first * args.c_stride + panel.n0;
            if constexpr (kAdd) to.residual = residual.data + first * residual.stride + panel.n0;
            if (columns == kTile) {
              store_pixels<kTile, kAdd, i.value>(to, pixels, multiplier);
              return;
            }
            for (int j = 0; j < columns; ++j) {
              const __m512i sums[1][1] = {{(__m512i)pixels[0][i][j]}};
              store_s8<1, 1, kAdd, false, false>(to, sums, multiplier);
              to.c += args.c_stride;
              if constexpr (kAdd) to.residual += residual.stride;
            }
          });
        });
  }

  template <typename Panel>
  static void finish(const Panel& panel) {
    if (panel.args.residual.data != nullptr) {
      store<true>(panel);
    } else {
      store<false>(panel);
    }
  }
};

constexpr Kernel kKernels[] = {
    Winograd<F4, Avx512Vnni>::kernel("winograd_s8_4x4_avx512vnni", kDotCost),
};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::winograd_s8
