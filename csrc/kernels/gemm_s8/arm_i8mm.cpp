// gemm_s8 for Arm's int8 matrix products: SMMLA (2x8 times 8x2, eight products summed into each of
// four s32).
//
// Tile: up to 12x8, 24 accumulators of 2x2; where it is lower, up to 6x16 and 2x32. A slice of A
// (the tile's rows, all of K) is interleaved in scratch, two rows to a vector and two vectors side
// by side, which also gathers a convolution's taps: a step of K takes one vector of A for each two
// rows and four of B for each panel. Heights are even; a row too many is computed and not stored.
//
// Bound: the caller proved sum|w| * 255 + |bias| < 2^31, so no partial sum wraps.
#include "kernels/gemm_s8/arm_tiles.h"

namespace zeropoint::gemm_s8 {
namespace {

// acc += two rows of A by two columns of B. As an instruction rather than the intrinsic because
// GCC 12 copies accumulators back and forth unless the operands are tied.
ZEROPOINT_INLINE int32x4_t matrix_product(int32x4_t acc, int8x16_t a, int8x16_t b) {
  __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(a), "w"(b));
  return acc;
}

// P pairs of rows by NP panels.
template <int P, int NP>
void compute_tiles(const Tile& first, int count);

struct I8mm {
  static constexpr int kGroup = 8;
  static constexpr int kNr = 8;
  static constexpr int kMaxHeight = 12;
  static constexpr int kRowStep = 2;

  static size_t slice_bytes(size_t k) { return Interleaved<I8mm>::slice_bytes(k); }
  static Slice slice(const Rows<act_t>& a, int64_t m, int height, int8_t* scratch) {
    return Interleaved<I8mm>::slice(a, m, height, scratch);
  }
  static int32_t trait(const int8_t*, size_t) { return 0; }

  static const TileSet& tiles(int height) {
    static constexpr TileSet kSets[] = {
        {compute_tiles<1, 1>, compute_tiles<1, 4>, 4},
        {compute_tiles<2, 1>, compute_tiles<2, 2>, 2},
        {compute_tiles<3, 1>, compute_tiles<3, 2>, 2},
        {compute_tiles<4, 1>, compute_tiles<4, 1>, 1},
        {compute_tiles<5, 1>, compute_tiles<5, 1>, 1},
        {compute_tiles<6, 1>, compute_tiles<6, 1>, 1},
    };
    return kSets[height / 2 - 1];
  }
};

template <int P, int NP>
ZEROPOINT_INLINE void compute_tile(const Tile& tile) {
  constexpr int kBlocks = 4 * NP;  // of two columns
  int32x4_t acc[P][kBlocks];
  const int8_t* b[NP];
  unroll<NP>([&](auto p) ZEROPOINT_LAMBDA {
    b[p] = weights<I8mm>(tile, p);
    unroll<4>([&](auto j) ZEROPOINT_LAMBDA {
      const int32x2_t bias = vld1_s32(header<I8mm>(tile, p).bias + j * 2);
      unroll<P>([&](auto r) ZEROPOINT_LAMBDA { acc[r][4 * p + j] = vcombine_s32(bias, bias); });
    });
  });
  constexpr int kGroups = (2 * P + kRowsInGroup - 1) / kRowsInGroup;
  const int8_t* a[kGroups];
  unroll<kGroups>([&](auto g) ZEROPOINT_LAMBDA { a[g] = tile.a.data + g * tile.a.stride; });

  for (ptrdiff_t k = tile.steps; k > 0; --k) {
    unroll<NP>([&](auto p) ZEROPOINT_LAMBDA {
      int8x16_t y[4];
      unroll<4>([&](auto j) ZEROPOINT_LAMBDA { y[j] = vld1q_s8(b[p] + j * 16); });
      b[p] += 4 * 16;
      unroll<P>([&](auto r) ZEROPOINT_LAMBDA {
        const int8x16_t x = vld1q_s8(a[r / 2] + r % 2 * 16);
        unroll<4>([&](auto j) ZEROPOINT_LAMBDA {
          acc[r][4 * p + j] = matrix_product(acc[r][4 * p + j], x, y[j]);
        });
      });
    });
    unroll<kGroups>([&](auto g) ZEROPOINT_LAMBDA { a[g] += 2 * 16; });
  }

  int32x4_t sums[2 * P][2 * NP];
  unroll<P>([&](auto r) ZEROPOINT_LAMBDA {
    unroll<2 * NP>([&](auto j) ZEROPOINT_LAMBDA {
      const int64x2_t left = vreinterpretq_s64_s32(acc[r][2 * j]);
      const int64x2_t right = vreinterpretq_s64_s32(acc[r][2 * j + 1]);
      sums[2 * r][j] = vreinterpretq_s32_s64(vzip1q_s64(left, right));
      sums[2 * r + 1][j] = vreinterpretq_s32_s64(vzip2q_s64(left, right));
    });
  });
  store<I8mm, 2 * P, NP>(tile, sums);
}

template <int P, int NP>
void compute_tiles(const Tile& first, int count) {
  Tile tile = first;
  do {
    compute_tile<P, NP>(tile);
    advance<I8mm, NP>(tile);
  } while (--count > 0);
}

constexpr Kernel kKernels[] = {make_kernel<I8mm>("gemm_s8_12x8_i8mm", Isa::i8mm)};

}  // namespace

KernelSpan<Kernel> arm_i8mm_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
