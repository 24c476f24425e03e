// gemm_s8 for Armv8.0: SMULL and SMLAL (s8 x s8, two products summed in s16) and SADALP (pairs of
// these added to s32).
//
// Tile: up to 4x4, 16 accumulators of four partial sums each; where it is lower, up to 2x8 and
// 1x16. A step covers 16 of K: element k of a row meets its column in the lower half of the
// vectors, and k + 8 in the upper half. A is read where it lies; only the taps of a convolution are
// gathered.
//
// Bound: the sum of two products leaves s16 only for -128 * -128 twice. A panel in which a column
// holds -128 at both k and k + 8 is marked when it is packed, and there each product goes to s32 by
// itself. The caller proved sum|w| * 255 + |bias| < 2^31, so no partial sum in s32 wraps.
#include "kernels/gemm_s8/arm_tiles.h"

namespace zeropoint::gemm_s8 {
namespace {

// Products of the lower or upper halves, and additions of pairs. Volatile, so they stay in the
// order in which they are written: GCC 12 takes all SMULL of a step first and runs out of
// registers.
ZEROPOINT_INLINE int16x8_t multiply_low(int8x16_t x, int8x16_t y) {
  int16x8_t products;
  __asm__ volatile("smull %0.8h, %1.8b, %2.8b" : "=w"(products) : "w"(x), "w"(y));
  return products;
}
ZEROPOINT_INLINE int16x8_t multiply_high(int8x16_t x, int8x16_t y) {
  int16x8_t products;
  __asm__ volatile("smull2 %0.8h, %1.16b, %2.16b" : "=w"(products) : "w"(x), "w"(y));
  return products;
}
ZEROPOINT_INLINE int16x8_t multiply_add_high(int16x8_t products, int8x16_t x, int8x16_t y) {
  __asm__ volatile("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(products) : "w"(x), "w"(y));
  return products;
}
ZEROPOINT_INLINE int32x4_t add_pairs(int32x4_t acc, int16x8_t products) {
  __asm__ volatile("sadalp %0.4s, %1.8h" : "+w"(acc) : "w"(products));
  return acc;
}

template <int MR, int NP>
void compute_tiles(const Tile& first, int count);

struct Neon {
  static constexpr int kGroup = 16;
  static constexpr int kNr = 4;
  static constexpr int kMaxHeight = 4;
  static constexpr int kRowStep = 1;

  static size_t slice_bytes(size_t) { return 0; }
  static Slice slice(const Rows<act_t>& a, int64_t m, int height, int8_t* scratch) {
    if (a.offsets == nullptr) return {a.base + m * a.stride, a.stride};
    return gather_rows(a, m, height, scratch);
  }

  // May sums of two products leave s16?
  static int32_t trait(const int8_t* weights, size_t steps) {
    for (size_t i = 0; i < steps * kNr; ++i, weights += kGroup) {
      for (int k = 0; k < 8; ++k) {
        if (weights[k] == -128 && weights[k + 8] == -128) return 1;
      }
    }
    return 0;
  }

  static const TileSet& tiles(int height) {
    static constexpr TileSet kSets[] = {
        {compute_tiles<1, 1>, compute_tiles<1, 4>, 4},
        {compute_tiles<2, 1>, compute_tiles<2, 2>, 2},
        {compute_tiles<3, 1>, compute_tiles<3, 1>, 1},
        {compute_tiles<4, 1>, compute_tiles<4, 1>, 1},
    };
    return kSets[height - 1];
  }
};

// acc[r][j] += the products of row r and column j, spread over four partial sums.
template <int MR, int NP, bool kApart>
ZEROPOINT_INLINE void accumulate(const Tile& tile, int32x4_t (&acc)[MR][4 * NP]) {
  const int8_t* a[MR];
  unroll<MR>([&](auto r) ZEROPOINT_LAMBDA { a[r] = tile.a.data + r * tile.a.stride; });
  const int8_t* b[NP];
  unroll<NP>([&](auto p) ZEROPOINT_LAMBDA { b[p] = weights<Neon>(tile, p); });
  for (ptrdiff_t k = tile.steps; k > 0; --k) {
    int8x16_t x[MR];
    unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
      x[r] = vld1q_s8(a[r]);
      a[r] += 16;
    });
    // kTogether columns at once, so that four chains of instructions alternate.
    constexpr int kTogether = 4 / MR;
    unroll<4 * NP / kTogether>([&](auto group) ZEROPOINT_LAMBDA {
      int8x16_t y[kTogether];
      unroll<kTogether>([&](auto i) ZEROPOINT_LAMBDA {
        constexpr int kColumn = group.value * kTogether + i.value;
        y[i] = vld1q_s8(b[kColumn / 4] + kColumn % 4 * 16);
      });
      int16x8_t products[kTogether * MR];
      const auto each = [&](const auto& f) ZEROPOINT_LAMBDA {
        unroll<kTogether * MR>([&](auto i) ZEROPOINT_LAMBDA {
          f(products[i], x[i % MR], y[i / MR], acc[i % MR][group * kTogether + i / MR]);
        });
      };
      each([](auto& p, auto u, auto v, auto&) ZEROPOINT_LAMBDA { p = multiply_low(u, v); });
      if constexpr (kApart) {
        each([](auto& p, auto, auto, auto& sum) ZEROPOINT_LAMBDA { sum = add_pairs(sum, p); });
        each([](auto& p, auto u, auto v, auto&) ZEROPOINT_LAMBDA { p = multiply_high(u, v); });
      } else {
        each([](auto& p, auto u, auto v, auto&)
                 ZEROPOINT_LAMBDA { p = multiply_add_high(p, u, v); });
      }
      each([](auto& p, auto, auto, auto& sum) ZEROPOINT_LAMBDA { sum = add_pairs(sum, p); });
    });
    unroll<NP>([&](auto p) ZEROPOINT_LAMBDA { b[p] += 4 * 16; });
  }
}

template <int MR, int NP>
ZEROPOINT_INLINE void compute_tile(const Tile& tile) {
  int32x4_t acc[MR][4 * NP];
  unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
    unroll<4 * NP>([&](auto j) ZEROPOINT_LAMBDA { acc[r][j] = vdupq_n_s32(0); });
  });
  int32_t apart = 0;
  unroll<NP>([&](auto p) ZEROPOINT_LAMBDA { apart |= header<Neon>(tile, p).trait[0]; });
  if (apart != 0) {
    accumulate<MR, NP, true>(tile, acc);
  } else {
    accumulate<MR, NP, false>(tile, acc);
  }
  int32x4_t sums[MR][NP];
  unroll<NP>([&](auto p) ZEROPOINT_LAMBDA {
    const int32x4_t bias = vld1q_s32(header<Neon>(tile, p).bias);
    unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
      const int32x4_t* parts = acc[r] + 4 * p;
      const int32x4_t left = vpaddq_s32(parts[0], parts[1]);
      const int32x4_t right = vpaddq_s32(parts[2], parts[3]);
      sums[r][p] = vaddq_s32(vpaddq_s32(left, right), bias);
    });
  });
  store<Neon, MR, NP>(tile, sums);
}

template <int MR, int NP>
void compute_tiles(const Tile& first, int count) {
  Tile tile = first;
  do {
    compute_tile<MR, NP>(tile);
    advance<Neon, NP>(tile);
  } while (--count > 0);
}

constexpr Kernel kKernels[] = {make_kernel<Neon>("gemm_s8_4x4_neon", Isa::neon)};

}  // namespace

KernelSpan<Kernel> arm_neon_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
