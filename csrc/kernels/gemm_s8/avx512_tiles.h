// Tiles of gemm_s8 with AVX-512 VNNI: sums of up to 6x64, 8x48, 14x32 or 16x16, at most 28 vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/gemm_s8/avx512_panels.h"
#include "kernels/rows_avx512.h"

namespace zeropoint::gemm_s8 {
namespace {

// How far ahead of its use a matrix-vector product asks for the weights.
constexpr size_t kPrefetchBytes = 2048;

// The target's first row and column are the tile's; exactly one of c and c_s32 is set.
struct Tile : RowTarget {
  const act_t* const* a;  // [height][taps]: where each run starts
  int taps;
  int depth;
  const uint8_t* panel;  // its header
  ptrdiff_t ahead;       // each step of K asks for the line of weights so far ahead of its own
  int32_t* c_s32;
};

// Where the runs of rows m .. m + height - 1 start: runs[row][tap].
void find_runs(const Rows<act_t>& a, int64_t m, int height, const act_t** __restrict runs) {
  if (a.offsets == nullptr) {
    const act_t* row = a.base + m * a.stride;
    for (int r = 0; r < height; ++r, row += a.stride) {
      runs[r] = row;
      __asm__("" : "+r"(row));  // not worth vectorizing: at most 16 rows
    }
    return;
  }
  // Copies, so that the loop vectorizes.
  const act_t* base = a.base;
  const act_t* pad_row = a.pad_row;
  const int32_t* offsets = a.offsets + m * a.taps;
  const ptrdiff_t count = static_cast<ptrdiff_t>(height) * a.taps;
  for (ptrdiff_t i = 0; i < count; ++i) {
    runs[i] = offsets[i] < 0 ? pad_row : base + offsets[i];
  }
}

// What tile i of a block of panels asks for: the last four of its tiles ask for the next block,
// each for one of the four lines that a step of K takes from a panel of 64 columns.
ptrdiff_t ahead(int64_t i, int64_t tiles, ptrdiff_t block_bytes) {
  const int64_t left = tiles - i;
  return left <= 4 ? block_bytes + (left - 1) * 64 : 0;
}

inline int32_t load_4(const act_t* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// acc += the four products of each dword. GCC gives the intrinsic a fresh destination and copies
// accumulators back and forth (twice slower); tied operands leave it no choice.
inline void dot(__m512i& acc, __m512i x, __m512i w) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
}

inline void keep_in_register(__m512i& v) { __asm__ volatile("" : "+v"(v)); }

template <int MR, int NV>
ZEROPOINT_INLINE void store_s32(const Tile& tile, const __m512i (&acc)[MR][NV]) {
  unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
    int32_t* c = tile.c_s32 + r * tile.c_stride;
    __m512i row[NV];
    if constexpr (NV == 4) {  // 128-bit lane l of vector v -> lane v of vector l
      const __m512i a = _mm512_shuffle_i32x4(acc[r][0], acc[r][1], 0x44);
      const __m512i b = _mm512_shuffle_i32x4(acc[r][2], acc[r][3], 0x44);
      const __m512i d = _mm512_shuffle_i32x4(acc[r][0], acc[r][1], 0xEE);
      const __m512i e = _mm512_shuffle_i32x4(acc[r][2], acc[r][3], 0xEE);
      row[0] = _mm512_shuffle_i32x4(a, b, 0x88);
      row[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
      row[2] = _mm512_shuffle_i32x4(d, e, 0x88);
      row[3] = _mm512_shuffle_i32x4(d, e, 0xDD);
    } else {
      unroll<NV>([&](auto j) ZEROPOINT_LAMBDA { row[j] = acc[r][j]; });
    }
    unroll<NV>([&](auto j) ZEROPOINT_LAMBDA {
      _mm512_mask_storeu_epi32(c + j * kLanes, static_cast<__mmask16>(tile.mask >> (j * kLanes)),
                               row[j]);
    });
  });
}

template <int MR, int NV>
void compute_tile(const Tile& tile) {
  constexpr int kWidth = NV * kLanes;
  const int32_t* bias = reinterpret_cast<const int32_t*>(tile.panel);
  const float* multiplier = reinterpret_cast<const float*>(bias + kWidth);
  const uint8_t* w = reinterpret_cast<const uint8_t*>(multiplier + kWidth);

  __m512i acc[MR][NV];
  unroll<NV>([&](auto j) ZEROPOINT_LAMBDA {
    const __m512i start = _mm512_loadu_si512(bias + j * kLanes);
    unroll<MR>([&](auto r) ZEROPOINT_LAMBDA { acc[r][j] = start; });
  });

  const ptrdiff_t taps = tile.taps;
  const ptrdiff_t depth = tile.depth;
  const ptrdiff_t ahead = tile.ahead;
  ptrdiff_t t = 0;
  do {
    const act_t* a[MR];
    const act_t* const* table = tile.a;
    if (MR <= 8 || taps > 1) {
      unroll<MR>([&](auto r) ZEROPOINT_LAMBDA { a[r] = tile.a[r * taps + t]; });
      table = a;
    }
    for (ptrdiff_t k = 0; k < depth; k += 4) {
      // More pointers than registers are read from memory again in each step, which costs nothing
      // beside so many dot products; GCC would spill them to vector registers instead.
      if constexpr (MR > 8) __asm__("" : "+r"(table) : "m"(a));
      if constexpr (MR > 4) _mm_prefetch(reinterpret_cast<const char*>(w + ahead), _MM_HINT_T1);
      __m512i b[NV];
      unroll<NV>([&](auto j) ZEROPOINT_LAMBDA {
        b[j] = _mm512_loadu_si512(w + j * 64);
        if constexpr (MR <= 4) {
          _mm_prefetch(reinterpret_cast<const char*>(w + j * 64 + kPrefetchBytes), _MM_HINT_T0);
        }
      });
      unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
        const __m512i x = _mm512_set1_epi32(load_4((MR > 8 ? table[r] : a[r]) + k));
        unroll<NV>([&](auto j) ZEROPOINT_LAMBDA { dot(acc[r][j], x, b[j]); });
      });
      w += kWidth * 4;
      // Hides that w follows from the loop counters: they would take two more registers.
      __asm__("" : "+r"(w));
    }
  } while (++t < taps);

  // Without it GCC moves half of the sums to the stack before it stores them.
  unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
    unroll<NV>([&](auto j) ZEROPOINT_LAMBDA { keep_in_register(acc[r][j]); });
  });
  if (tile.c_s32 != nullptr) {
    store_s32<MR, NV>(tile, acc);
  } else if (tile.residual != nullptr) {
    store_s8<MR, NV, true>(tile, acc, multiplier);
  } else {
    store_s8<MR, NV, false>(tile, acc, multiplier);
  }
}

using TileFunction = void (*)(const Tile&);

// [height - 1] for each panel width.
constexpr TileFunction kTiles64[] = {
    compute_tile<1, 4>, compute_tile<2, 4>, compute_tile<3, 4>,
    compute_tile<4, 4>, compute_tile<5, 4>, compute_tile<6, 4>,
};
constexpr TileFunction kTiles48[] = {
    compute_tile<1, 3>, compute_tile<2, 3>, compute_tile<3, 3>, compute_tile<4, 3>,
    compute_tile<5, 3>, compute_tile<6, 3>, compute_tile<7, 3>, compute_tile<8, 3>,
};
constexpr TileFunction kTiles32[] = {
    compute_tile<1, 2>,  compute_tile<2, 2>,  compute_tile<3, 2>,  compute_tile<4, 2>,
    compute_tile<5, 2>,  compute_tile<6, 2>,  compute_tile<7, 2>,  compute_tile<8, 2>,
    compute_tile<9, 2>,  compute_tile<10, 2>, compute_tile<11, 2>, compute_tile<12, 2>,
    compute_tile<13, 2>, compute_tile<14, 2>,
};
constexpr TileFunction kTiles16[] = {
    compute_tile<1, 1>,  compute_tile<2, 1>,  compute_tile<3, 1>,  compute_tile<4, 1>,
    compute_tile<5, 1>,  compute_tile<6, 1>,  compute_tile<7, 1>,  compute_tile<8, 1>,
    compute_tile<9, 1>,  compute_tile<10, 1>, compute_tile<11, 1>, compute_tile<12, 1>,
    compute_tile<13, 1>, compute_tile<14, 1>, compute_tile<15, 1>, compute_tile<16, 1>,
};

struct TileSet {
  const TileFunction* by_height;
  int max_height;
};
constexpr TileSet kTileSets[] = {
    {kTiles16, kMaxHeight}, {kTiles32, 14}, {kTiles48, 8}, {kTiles64, 6}};
// Of the largest tile.
constexpr int kMaxSums = 14 * 32;

}  // namespace
}  // namespace zeropoint::gemm_s8
