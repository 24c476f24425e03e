// The last steps of requantization with AVX-512: 64, 32 or 16 scaled values -> as many bytes, and
// the vector widths that kernels are instantiated for. For ISA files only.
#pragma once

// GCC 12's own AVX-512 headers trip this warning (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#include <cstdint>

#include "quant/requantize.h"

namespace zeropoint {

struct Avx512Epilogue {
  __m512 hi;
  __m512i zero_point;  // 16-bit lanes
  __m512i qmin;        // 8-bit lanes
};

static inline Avx512Epilogue avx512_epilogue(const OutputClamp& out) {
  return {_mm512_set1_ps(static_cast<float>(out.qmax - out.zero_point)),
          _mm512_set1_epi16(static_cast<int16_t>(out.zero_point)),
          _mm512_set1_epi8(static_cast<char>(out.qmin))};
}

// As avx2_round_clamp: the upper bound in float, the lower one in bytes; the four vectors end up
// interleaved within each 128-bit part. No value may be a NaN.
static inline __m512i avx512_round_clamp(__m512 v0, __m512 v1, __m512 v2, __m512 v3,
                                         const Avx512Epilogue& e) {
  const __m512i i0 = _mm512_cvtps_epi32(_mm512_min_ps(v0, e.hi));
  const __m512i i1 = _mm512_cvtps_epi32(_mm512_min_ps(v1, e.hi));
  const __m512i i2 = _mm512_cvtps_epi32(_mm512_min_ps(v2, e.hi));
  const __m512i i3 = _mm512_cvtps_epi32(_mm512_min_ps(v3, e.hi));
  const __m512i lo = _mm512_adds_epi16(_mm512_packs_epi32(i0, i1), e.zero_point);
  const __m512i hi = _mm512_adds_epi16(_mm512_packs_epi32(i2, i3), e.zero_point);
  return _mm512_max_epu8(_mm512_packus_epi16(lo, hi), e.qmin);
}

}  // namespace zeropoint
