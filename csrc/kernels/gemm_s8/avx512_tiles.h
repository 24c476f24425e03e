// Tiles of gemm_s8 with AVX-512 VNNI: sums of up to 6x64, 8x48, 14x32 or 16x16, at most 28 vectors,
// and how they are requantized and stored.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own headers start from a register "initialized" with itself; a false alarm.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/gemm_s8/avx512_panels.h"

#define ZEROPOINT_LAMBDA __attribute__((always_inline))
#define ZEROPOINT_INLINE inline __attribute__((always_inline))

namespace zeropoint::gemm_s8 {
namespace {

// How far ahead of its use a matrix-vector product asks for the weights.
constexpr size_t kPrefetchBytes = 2048;

// What requantization and the addition of a residual need, as vectors in memory: instructions take
// them from there, as there are no registers left beside the sums.
struct Constants {
  __m512i hi;          // qmax - zero_point of the output, 16-bit lanes
  __m512i zero_point;  // of the output, 16-bit lanes
  __m512i qmin;        // of the output, 8-bit lanes
  __m512i order;       // see store_s8
  // For residuals: the bounds of the requantized values, their zero point taken off.
  __m512 inner_lo, inner_hi;
  __m512 multiplier_c, multiplier;
  __m512i exponent;          // of 2^23, as the upper half of a float
  __m512 minus_biased_zero;  // -(2^23 + the residual's zero point)
  __m512 one;
};

Constants constants(const RunArgs& args) {
  const Residual& residual = args.residual;
  const OutputClamp& inner = args.clamp;
  const OutputClamp& out = residual.data != nullptr ? residual.clamp : inner;
  Constants k;
  k.hi = _mm512_set1_epi16(static_cast<short>(out.qmax - out.zero_point));
  k.zero_point = _mm512_set1_epi16(static_cast<short>(out.zero_point));
  k.qmin = _mm512_set1_epi8(static_cast<char>(out.qmin));
  k.order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  k.inner_lo = _mm512_set1_ps(static_cast<float>(inner.qmin - inner.zero_point));
  k.inner_hi = _mm512_set1_ps(static_cast<float>(inner.qmax - inner.zero_point));
  k.multiplier_c = _mm512_set1_ps(residual.multiplier_c);
  k.multiplier = _mm512_set1_ps(residual.multiplier);
  k.exponent = _mm512_set1_epi16(0x4B00);
  k.minus_biased_zero = _mm512_set1_ps(-8388608.0f - static_cast<float>(residual.zero_point));
  k.one = _mm512_set1_ps(1.0f);
  return k;
}

struct Tile {
  const act_t* const* a;  // [height][taps]: where each run starts
  int taps;
  int depth;
  const uint8_t* panel;  // its header
  ptrdiff_t ahead;       // each step of K asks for the line of weights so far ahead of its own
  bool whole;            // are all the panel's columns stored? If not, those of the mask are.
  __mmask64 mask;
  act_t* c;  // at the tile's first row and column; exactly one of the two is set
  int32_t* c_s32;
  ptrdiff_t c_stride;
  const act_t* residual;  // as c, or nullptr
  ptrdiff_t residual_stride;
  const Constants* constants;
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

template <int V>
struct Constant {
  static constexpr int value = V;
  constexpr operator int() const { return V; }
};

// f(0), f(1), ... f(N - 1) with constants for arguments. Loops over arrays of vectors are written
// so because compilers keep an array in registers only if its indices are constants early enough.
template <int N, typename F>
ZEROPOINT_INLINE void unroll(const F& f) {
  if constexpr (N > 0) {
    unroll<N - 1>(f);
    f(Constant<N - 1>{});
  }
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

// Row I of the joined vectors of a panel of NV * 16 columns.
template <int NV, int I>
ZEROPOINT_INLINE void store_bytes(act_t* c, __m512i bytes, bool whole, __mmask64 mask) {
  if constexpr (NV == 4) {
    if (whole) {
      _mm512_storeu_si512(c, bytes);
    } else {
      _mm512_mask_storeu_epi8(c, mask, bytes);
    }
  } else if constexpr (NV == 3) {
    _mm512_mask_storeu_epi8(c, mask, bytes);
  } else if constexpr (NV == 2) {
    const __m256i half = _mm512_extracti64x4_epi64(bytes, I);
    if (whole) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), half);
    } else {
      _mm256_mask_storeu_epi8(c, static_cast<__mmask32>(mask), half);
    }
  } else {
    const __m128i quarter = _mm512_extracti32x4_epi32(bytes, I);
    if (whole) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(c), quarter);
    } else {
      _mm_mask_storeu_epi8(c, static_cast<__mmask16>(mask), quarter);
    }
  }
}

// The bytes of rows that store_bytes would write, side by side.
template <int NV, int kRows>
ZEROPOINT_INLINE __m512i load_rows(const act_t* x, ptrdiff_t stride, bool whole, __mmask64 mask) {
  if constexpr (NV >= 3) {
    return NV == 4 && whole ? _mm512_loadu_si512(x) : _mm512_maskz_loadu_epi8(mask, x);
  } else if constexpr (NV == 2) {
    __m256i half[2];
    unroll<2>([&](auto i) ZEROPOINT_LAMBDA {
      const act_t* row = x + (i < kRows ? i : 0) * stride;
      half[i] = whole ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row))
                      : _mm256_maskz_loadu_epi8(static_cast<__mmask32>(mask), row);
    });
    return _mm512_inserti64x4(_mm512_castsi256_si512(half[0]), half[1], 1);
  } else {
    __m512i joined = _mm512_setzero_si512();
    unroll<4>([&](auto i) ZEROPOINT_LAMBDA {
      if constexpr (i.value < kRows) {
        const act_t* row = x + i * stride;
        joined = _mm512_inserti32x4(joined,
                                    whole ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(row))
                                          : _mm_maskz_loadu_epi8(static_cast<__mmask16>(mask), row),
                                    i);
      }
    });
    return joined;
  }
}

// a + b. Additions proper compete with conversions, comparisons and roundings for one pair of
// units, fused multiply-adds by 1, which round the same, with multiplications and dot products for
// the other pair: which to take depends on whether dot products run beside.
template <bool kBeside>
ZEROPOINT_INLINE __m512 sum(__m512 a, __m512 b, __m512 one) {
  return kBeside ? _mm512_add_ps(a, b) : _mm512_fmadd_ps(a, one, b);
}

// Vector V of four joined ones: sums -> values rounded to int32. With kAdd, `words` holds eight of
// the residual's bytes in each 128-bit lane, of which this vector takes one half: in the mantissa
// of 2^23, a byte b is 2^23 + b.
template <int V, bool kAdd, bool kBeside>
ZEROPOINT_INLINE __m512i requantized(__m512i sums, const float* multiplier, const Constants& k,
                                     __m512i words) {
  __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(multiplier));
  if constexpr (kAdd) {
    const __m512i biased = V % 2 == 0 ? _mm512_unpacklo_epi16(words, k.exponent)
                                      : _mm512_unpackhi_epi16(words, k.exponent);
    const __m512 x = sum<kBeside>(_mm512_castsi512_ps(biased), k.minus_biased_zero, k.one);
    v = _mm512_roundscale_ps(_mm512_max_ps(_mm512_min_ps(v, k.inner_hi), k.inner_lo),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    v = sum<kBeside>(_mm512_mul_ps(v, k.multiplier_c), _mm512_mul_ps(x, k.multiplier), k.one);
  }
  return _mm512_cvtps_epi32(v);
}

// Requantizes and stores the sums of MR rows by NV * 16 columns, four vectors at a time (one row of
// 64 columns, two of 32, four of 16), because the packs join four vectors. Multipliers are bounded.
template <int MR, int NV, bool kAdd, bool kBeside = false>
ZEROPOINT_INLINE void store_s8(const Tile& tile, const __m512i (&acc)[MR][NV],
                               const float* multiplier) {
  constexpr int kRowsAtOnce = NV == 1 ? 4 : NV == 2 ? 2 : 1;
  // Copies: the stores are to bytes, which may alias anything. For the same reason, and on purpose,
  // the constants and multipliers are read again for each row.
  act_t* c = tile.c;
  const ptrdiff_t stride = tile.c_stride;
  const act_t* residual = tile.residual;
  const ptrdiff_t residual_stride = tile.residual_stride;
  const bool whole = tile.whole;
  const __mmask64 mask = tile.mask;
  const Constants& k = *tile.constants;

  unroll<(MR + kRowsAtOnce - 1) / kRowsAtOnce>([&](auto group) ZEROPOINT_LAMBDA {
    constexpr int kRow = group.value * kRowsAtOnce;
    constexpr int kRows = MR - kRow < kRowsAtOnce ? MR - kRow : kRowsAtOnce;
    __m512i words[2];
    if constexpr (kAdd) {
      __m512i bytes =
          load_rows<NV, kRows>(residual + kRow * residual_stride, residual_stride, whole, mask);
      // To the order in which the packs leave dwords.
      if constexpr (NV != 4) bytes = _mm512_permutexvar_epi32(k.order, bytes);
      words[0] = _mm512_unpacklo_epi8(bytes, _mm512_setzero_si512());
      words[1] = _mm512_unpackhi_epi8(bytes, _mm512_setzero_si512());
    } else {
      words[0] = words[1] = _mm512_setzero_si512();
    }
    __m512i half[2];
    unroll<2>([&](auto h) ZEROPOINT_LAMBDA {
      __m512i q[2];
      unroll<2>([&](auto i) ZEROPOINT_LAMBDA {
        constexpr int kVector = 2 * h.value + i.value;
        constexpr int kAt = kRow + kVector / NV;
        if constexpr (kVector < kRowsAtOnce * NV && kAt < MR) {
          q[i] = requantized<kVector, kAdd, kBeside>(
              acc[kAt][kVector % NV], multiplier + kVector % NV * kLanes, k, words[h]);
        } else {
          q[i] = k.order;  // nothing left to join: not stored
        }
      });
      // Not a saturating addition, which would compete with the dot products for their units.
      half[h] =
          _mm512_add_epi16(_mm512_min_epi16(_mm512_packs_epi32(q[0], q[1]), k.hi), k.zero_point);
    });
    // The packs saturate. They work within 128-bit lanes: `order`, which is its own inverse, puts
    // the dwords that they interleave side by side again.
    __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(half[0], half[1]), k.qmin);
    if constexpr (NV != 4) bytes = _mm512_permutexvar_epi32(k.order, bytes);
    unroll<kRows>([&](auto i) ZEROPOINT_LAMBDA {
      store_bytes<NV, i.value>(c + (kRow + i.value) * stride, bytes, whole, mask);
    });
  });
}

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
