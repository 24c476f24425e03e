// Rows of int32 sums in 512-bit registers: requantized, added to a residual, stored. What the
// AVX-512 kernels that multiply matrices share. For ISA files only: what is here is file-local.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own headers start from a register "initialized" with itself; a false alarm.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inlining.h"
#include "kernels/residual.h"
#include "quant/requantize.h"

namespace zeropoint {
namespace {

constexpr int kLanes = 16;  // int32 columns in a vector

// What requantization and the addition of a residual need, as vectors in memory: instructions take
// them from there, as there are no registers left beside the sums.
struct RowConstants {
  __m512i hi;          // qmax - zero_point of the output, 16-bit lanes
  __m512i zero_point;  // of the output, 16-bit lanes
  __m512i qmin;        // of the output, 8-bit lanes
  __m512i order;       // see store_s8
  // The bounds of the requantized values before a residual, their zero point taken off.
  __m512 inner_lo, inner_hi;
  __m512 multiplier_c, multiplier;
  __m512i exponent;          // of 2^23, as the upper half of a float
  __m512 minus_biased_zero;  // -(2^23 + the residual's zero point)
  __m512 one;
};

inline RowConstants row_constants(const OutputClamp& inner, const Residual& residual) {
  const OutputClamp& out = residual.data != nullptr ? residual.clamp : inner;
  RowConstants k;
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

// Where rows go.
struct RowTarget {
  act_t* c;  // at the first row and column
  ptrdiff_t c_stride;
  const act_t* residual;  // as c, or nullptr
  ptrdiff_t residual_stride;
  bool whole;  // are all columns stored? If not, those of the mask are.
  __mmask64 mask;
  const RowConstants* constants;
};

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
                                    i.value);
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
// of 2^23, a byte b is 2^23 + b. kBounded: no product of a sum and a multiplier leaves int32. If
// one may, the upper bound must be applied before the conversion, where vcvtps2dq answers INT_MIN;
// below, the packs keep that at the bottom.
template <int V, bool kAdd, bool kBeside, bool kBounded>
ZEROPOINT_INLINE __m512i requantized(__m512i sums, const float* multiplier, const RowConstants& k,
                                     __m512i words) {
  __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(multiplier));
  if constexpr (kAdd) {
    const __m512i biased = V % 2 == 0 ? _mm512_unpacklo_epi16(words, k.exponent)
                                      : _mm512_unpackhi_epi16(words, k.exponent);
    const __m512 x = sum<kBeside>(_mm512_castsi512_ps(biased), k.minus_biased_zero, k.one);
    v = _mm512_roundscale_ps(_mm512_max_ps(_mm512_min_ps(v, k.inner_hi), k.inner_lo),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    v = sum<kBeside>(_mm512_mul_ps(v, k.multiplier_c), _mm512_mul_ps(x, k.multiplier), k.one);
  } else if constexpr (!kBounded) {
    v = _mm512_min_ps(v, k.inner_hi);
  }
  return _mm512_cvtps_epi32(v);
}

// Requantizes and stores the sums of MR rows by NV * 16 columns, four vectors at a time (one row of
// 64 columns, two of 32, four of 16), because the packs join four vectors.
template <int MR, int NV, bool kAdd, bool kBeside = false, bool kBounded = true>
ZEROPOINT_INLINE void store_s8(const RowTarget& to, const __m512i (&acc)[MR][NV],
                               const float* multiplier) {
  constexpr int kRowsAtOnce = NV == 1 ? 4 : NV == 2 ? 2 : 1;
  // Copies: the stores are to bytes, which may alias anything. For the same reason, and on purpose,
  // the constants and multipliers are read again for each row.
  act_t* c = to.c;
  const ptrdiff_t stride = to.c_stride;
  const act_t* residual = to.residual;
  const ptrdiff_t residual_stride = to.residual_stride;
  const bool whole = to.whole;
  const __mmask64 mask = to.mask;
  const RowConstants& k = *to.constants;

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
          q[i] = requantized<kVector, kAdd, kBeside, kBounded>(
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

}  // namespace
}  // namespace zeropoint
