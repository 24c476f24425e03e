// The last steps of requantization with AVX2: 32 scaled values -> 32 bytes, and storing some of
// them. For ISA files only.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/inlining.h"
#include "quant/requantize.h"

namespace zeropoint {

// The upper bound is applied in float, because vcvtps2dq turns large values into INT_MIN; the lower
// bound is applied to bytes, where every smaller value arrives as 0 by saturation.
struct Avx2Epilogue {
  __m256 hi;
  __m256i zero_point;  // 16-bit lanes
  __m256i qmin;        // 8-bit lanes
};

static inline Avx2Epilogue avx2_epilogue(const OutputClamp& out) {
  return {_mm256_set1_ps(static_cast<float>(out.qmax - out.zero_point)),
          _mm256_set1_epi16(static_cast<int16_t>(out.zero_point)),
          _mm256_set1_epi8(static_cast<char>(out.qmin))};
}

// Rounds and clamps; no value may be a NaN. In each 128-bit half the result holds the four values
// of v0, then those of v1, v2 and v3: the order in which vpunpck(l|h)bw and then vpunpck(l|h)wd
// spread a vector of bytes.
static inline __m256i avx2_round_clamp(__m256 v0, __m256 v1, __m256 v2, __m256 v3,
                                       const Avx2Epilogue& e) {
  const __m256i i0 = _mm256_cvtps_epi32(_mm256_min_ps(v0, e.hi));
  const __m256i i1 = _mm256_cvtps_epi32(_mm256_min_ps(v1, e.hi));
  const __m256i i2 = _mm256_cvtps_epi32(_mm256_min_ps(v2, e.hi));
  const __m256i i3 = _mm256_cvtps_epi32(_mm256_min_ps(v3, e.hi));
  const __m256i lo = _mm256_adds_epi16(_mm256_packs_epi32(i0, i1), e.zero_point);
  const __m256i hi = _mm256_adds_epi16(_mm256_packs_epi32(i2, i3), e.zero_point);
  return _mm256_max_epu8(_mm256_packus_epi16(lo, hi), e.qmin);
}

// Copies `count` < 32 bytes without a call.
static inline void avx2_copy_below_32(void* to, const void* from, int count) {
  auto* d = static_cast<char*>(to);
  const auto* s = static_cast<const char*>(from);
  const auto piece = [&](int bytes) ZEROPOINT_LAMBDA {
    if ((count & bytes) == 0) return;
    std::memcpy(d, s, static_cast<size_t>(bytes));
    d += bytes;
    s += bytes;
  };
  piece(16);
  piece(8);
  piece(4);
  piece(2);
  piece(1);
}

// Stores the first `count` bytes of v, or all 32 where there are more.
static inline void avx2_store_first(act_t* y, __m256i v, int count) {
  if (count >= 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), v);
  } else {
    alignas(32) act_t bytes[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), v);
    avx2_copy_below_32(y, bytes, count);
  }
}

}  // namespace zeropoint
