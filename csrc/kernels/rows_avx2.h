// Rows of 16 int32 sums in two 256-bit registers: requantized, added to a residual, stored. What
// the AVX2 kernels that multiply matrices share. For ISA files only: what is here is file-local.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/epilogue_avx2.h"
#include "kernels/inlining.h"
#include "kernels/residual.h"
#include "quant/requantize.h"

namespace zeropoint {
namespace {

constexpr int kRowColumns = 16;

inline __m256i load_256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline void store_256(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// The requantization constants that all columns share.
struct RowOutput {
  float hi;  // qmax - zero_point
  int zero_point;
  OutputClamp clamp;
  float lo;                  // qmin - zero_point: for residuals
  const Residual* residual;  // nullptr: none
  float biased_zero;         // 2^23 + the residual's zero point

  RowOutput(const OutputClamp& out, const Residual& added)
      : hi(static_cast<float>(out.qmax - out.zero_point)),
        zero_point(out.zero_point),
        clamp(out),
        lo(static_cast<float>(out.qmin - out.zero_point)),
        residual(added.data != nullptr ? &added : nullptr),
        biased_zero(8388608.0f + static_cast<float>(added.zero_point)) {}
};

// What is proved of the sums of a panel of columns.
struct RowBounds {
  int32_t bounded = 1;  // their products with the multipliers fit int32
  // So they do while the sums stay below 2^23 in magnitude, with positive multipliers that are no
  // denormals.
  int32_t small = 1;

  // One more column, of k weights.
  void add_column(const int8_t* w, size_t k, int32_t bias, float multiplier) {
    int32_t positive = 0, total = 0;  // the caller has bounded them
    for (size_t i = 0; i < k; ++i) {
      positive += w[i] > 0 ? w[i] : 0;
      total += w[i];
    }
    const int64_t highest = int64_t{bias} + int64_t{positive} * kActMax;
    const int64_t lowest = int64_t{bias} + int64_t{total - positive} * kActMax;
    if (!(multiplier < 1.0f && multiplier > -1.0f)) bounded = 0;
    // 2^23 * 256 is the first product that does not fit int32.
    if (highest >= 1 << 23 || lowest <= -(1 << 23) ||
        !(multiplier > 1e-30f && multiplier < 256.0f)) {
      small = 0;
    }
  }
};

// How sums become values of the output, in forms that do no more than a panel needs.
enum class RowScaling {
  any,
  // No product of a sum and a multiplier leaves int32: the saturating packs clamp. Otherwise the
  // upper bound must be applied before the conversion, where vcvtps2dq answers INT_MIN; below, the
  // packs keep that at the bottom.
  bounded,
  // Zero point 0 and all of 0 .. 255, so that the packs clamp, and sums below 2^23. Added to the
  // bit pattern of 2^23, a sum is the float 2^23 + sum, or 2^23 + sum / 2 if it is negative; one
  // fused multiply-add with -2^23 * m makes of it sum * m rounded once, or something negative.
  from_zero,
};
constexpr int32_t kTwo23Bits = 0x4B000000;

// May the sums be scaled as from_zero? kTwo23Bits is then added to the bias.
inline bool scales_from_zero(const RowBounds& bounds, const RowOutput& out) {
  return out.residual == nullptr && out.clamp.zero_point == 0 && out.clamp.qmin == 0 &&
         out.clamp.qmax == kActMax && bounds.small != 0;
}

// One row's sums -> s16 with the zero point, the two vectors' 128-bit halves interleaved.
template <RowScaling kScaling>
ZEROPOINT_INLINE __m256i scale_row(const __m256i* acc, const float* multiplier,
                                   const RowOutput& out) {
  __m256i q[2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    const __m256 m = _mm256_loadu_ps(multiplier + j * 8);
    __m256 v;
    if constexpr (kScaling == RowScaling::from_zero) {
      const __m256 offset = _mm256_mul_ps(m, _mm256_set1_ps(-8388608.0f));
      v = _mm256_fmadd_ps(_mm256_castsi256_ps(acc[j]), m, offset);
    } else {
      v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[j]), m);
      if constexpr (kScaling == RowScaling::any) v = _mm256_min_ps(v, _mm256_set1_ps(out.hi));
    }
    q[j] = _mm256_cvtps_epi32(v);
  }
  const __m256i words = _mm256_packs_epi32(q[0], q[1]);
  if constexpr (kScaling == RowScaling::from_zero) return words;
  return _mm256_adds_epi16(words, _mm256_set1_epi16(static_cast<short>(out.zero_point)));
}

// One row's sums, requantized and added to 16 bytes of the residual -> s16 with the second zero
// point, in the order of scale_row.
ZEROPOINT_INLINE __m256i add_row(const __m256i* acc, const float* multiplier, const RowOutput& out,
                                 const Residual& residual, __m128i other) {
  const __m256 lo = _mm256_set1_ps(out.lo), hi = _mm256_set1_ps(out.hi);
  const __m256 biased_zero = _mm256_set1_ps(out.biased_zero);
  __m256i q[2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[j]), _mm256_loadu_ps(multiplier + j * 8));
    v = _mm256_round_ps(_mm256_max_ps(_mm256_min_ps(v, hi), lo),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    // A byte b in the mantissa of 2^23 is 2^23 + b.
    const __m256i biased =
        _mm256_or_si256(_mm256_cvtepu8_epi32(j == 0 ? other : _mm_srli_si128(other, 8)),
                        _mm256_set1_epi32(kTwo23Bits));
    const __m256 w = _mm256_sub_ps(_mm256_castsi256_ps(biased), biased_zero);
    q[j] = _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(v, _mm256_set1_ps(residual.multiplier_c)),
                                            _mm256_mul_ps(w, _mm256_set1_ps(residual.multiplier))));
  }
  return _mm256_adds_epi16(_mm256_packs_epi32(q[0], q[1]),
                           _mm256_set1_epi16(static_cast<short>(residual.clamp.zero_point)));
}

// Two rows of scale_row or add_row as clamped bytes, the first in the lower half. kClamp: false
// after RowScaling::from_zero.
template <bool kClamp>
ZEROPOINT_INLINE __m256i narrow_rows(__m256i first, __m256i second, const OutputClamp& clamp) {
  __m256i bytes = _mm256_packus_epi16(first, second);
  if constexpr (kClamp) {
    const __m256i qmin = _mm256_set1_epi8(static_cast<char>(clamp.qmin));
    const __m256i qmax = _mm256_set1_epi8(static_cast<char>(clamp.qmax));
    bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, qmin), qmax);
  }
  // The packs work within 128-bit lanes: gather the dwords of two rows again.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return _mm256_permutevar8x32_epi32(bytes, order);
}

// Channel counts are multiples of 8 as a rule, so a last panel has 8 columns or all.
inline __m128i load_row(const act_t* x, int columns) {
  const auto* from = reinterpret_cast<const __m128i*>(x);
  if (columns == kRowColumns) return _mm_loadu_si128(from);
  if (columns == kRowColumns / 2) return _mm_loadl_epi64(from);
  act_t row[kRowColumns] = {};
  avx2_copy_below_32(row, x, columns);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
}

inline void store_row(act_t* c, __m128i bytes, int columns) {
  auto* to = reinterpret_cast<__m128i*>(c);
  if (columns == kRowColumns) {
    _mm_storeu_si128(to, bytes);
  } else if (columns == kRowColumns / 2) {
    _mm_storel_epi64(to, bytes);
  } else {
    act_t row[kRowColumns];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row), bytes);
    avx2_copy_below_32(c, row, columns);
  }
}

}  // namespace
}  // namespace zeropoint
