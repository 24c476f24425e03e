// gemm_s8 for Arm's dot products: SDOT (s8 x s8, four products summed into s32), by lane.
//
// Tile: up to 12x8, 24 accumulators; where it is lower, up to 6x16 and 3x32. 12x8 takes as many
// loads as 8x12 (5 vectors for 24 SDOT), and 8 divides the channel counts of networks and
// kColumnBlock. A slice of A (the tile's rows, all of K) is interleaved in scratch, four rows to a
// vector, which also gathers a convolution's taps: a step of K takes one vector of A for each four
// rows and two of B for each panel.
//
// Bound: the caller proved sum|w| * 255 + |bias| < 2^31, so no partial sum wraps.
#include "kernels/gemm_s8/arm_tiles.h"

namespace zeropoint::gemm_s8 {
namespace {

// acc[j] += the products of 4 columns with row R of a vector of A. GCC 12 copies accumulators back
// and forth when it is given the intrinsic (up to 12 moves beside 40 dot products); tied operands
// leave it no choice.
template <int R>
ZEROPOINT_INLINE int32x4_t dot(int32x4_t acc, int8x16_t b, int8x16_t a) {
  __asm__("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(acc) : "w"(b), "w"(a), "i"(R));
  return acc;
}

template <int MR, int NP>
void compute_tiles(const Tile& first, int count);

struct Dotprod {
  static constexpr int kGroup = 4;
  static constexpr int kNr = 8;
  static constexpr int kMaxHeight = 12;
  static constexpr int kRowStep = 1;

  static size_t slice_bytes(size_t k) { return Interleaved<Dotprod>::slice_bytes(k); }
  static Slice slice(const Rows<act_t>& a, int64_t m, int height, int8_t* scratch) {
    return Interleaved<Dotprod>::slice(a, m, height, scratch);
  }
  static int32_t trait(const int8_t*, size_t) { return 0; }

  static const TileSet& tiles(int height) {
    static constexpr TileSet kSets[] = {
        {compute_tiles<1, 1>, compute_tiles<1, 4>, 4},
        {compute_tiles<2, 1>, compute_tiles<2, 4>, 4},
        {compute_tiles<3, 1>, compute_tiles<3, 4>, 4},
        {compute_tiles<4, 1>, compute_tiles<4, 2>, 2},
        {compute_tiles<5, 1>, compute_tiles<5, 2>, 2},
        {compute_tiles<6, 1>, compute_tiles<6, 2>, 2},
        {compute_tiles<7, 1>, compute_tiles<7, 1>, 1},
        {compute_tiles<8, 1>, compute_tiles<8, 1>, 1},
        {compute_tiles<9, 1>, compute_tiles<9, 1>, 1},
        {compute_tiles<10, 1>, compute_tiles<10, 1>, 1},
        {compute_tiles<11, 1>, compute_tiles<11, 1>, 1},
        {compute_tiles<12, 1>, compute_tiles<12, 1>, 1},
    };
    return kSets[height - 1];
  }
};

template <int MR, int NP>
ZEROPOINT_INLINE void compute_tile(const Tile& tile) {
  constexpr int kGroups = (MR + kRowsInGroup - 1) / kRowsInGroup;
  constexpr int NV = 2 * NP;
  int32x4_t acc[MR][NV];
  const int8_t* b[NP];
  unroll<NP>([&](auto p) ZEROPOINT_LAMBDA {
    b[p] = weights<Dotprod>(tile, p);
    unroll<2>([&](auto j) ZEROPOINT_LAMBDA {
      const int32x4_t bias = vld1q_s32(header<Dotprod>(tile, p).bias + j * 4);
      unroll<MR>([&](auto r) ZEROPOINT_LAMBDA { acc[r][2 * p + j] = bias; });
    });
  });
  const int8_t* a[kGroups];
  unroll<kGroups>([&](auto g) ZEROPOINT_LAMBDA { a[g] = tile.a.data + g * tile.a.stride; });

  const auto step = [&](auto at) ZEROPOINT_LAMBDA {
    int8x16_t x[kGroups];
    unroll<kGroups>([&](auto g) ZEROPOINT_LAMBDA { x[g] = vld1q_s8(a[g] + at * 16); });
    unroll<NV>([&](auto j) ZEROPOINT_LAMBDA {
      const int8x16_t y = vld1q_s8(b[j / 2] + at * 32 + j % 2 * 16);
      unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
        acc[r][j] = dot<r % kRowsInGroup>(acc[r][j], y, x[r / kRowsInGroup]);
      });
    });
  };
  ptrdiff_t steps = tile.steps;
  for (; steps >= 2; steps -= 2) {
    step(Index<0>{});
    step(Index<1>{});
    unroll<kGroups>([&](auto g) ZEROPOINT_LAMBDA { a[g] += 2 * 16; });
    unroll<NP>([&](auto p) ZEROPOINT_LAMBDA { b[p] += 2 * 32; });
  }
  if (steps != 0) step(Index<0>{});
  store<Dotprod, MR, NP>(tile, acc);
}

template <int MR, int NP>
void compute_tiles(const Tile& first, int count) {
  Tile tile = first;
  do {
    compute_tile<MR, NP>(tile);
    advance<Dotprod, NP>(tile);
  } while (--count > 0);
}

constexpr Kernel kKernels[] = {make_kernel<Dotprod>("gemm_s8_12x8_dotprod", Isa::dotprod)};

}  // namespace

KernelSpan<Kernel> arm_dotprod_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
