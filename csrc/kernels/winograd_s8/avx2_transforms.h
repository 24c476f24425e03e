// The transforms of winograd_s8.h in one dimension, for AVX2. For ISA files only.
//
// A transform of a square is that of its columns, then of its rows. What fits where:
//   F2  inputs within [-510, 1020], weights within [-1152, 1152]
//   F4  inputs within [-12750, 17340], weights within [-18432, 18432]
// All fit 16 bits. The two products that a vpmaddwd adds are below 2^30 in magnitude.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/rows_avx2.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace zeropoint::winograd_s8 {
namespace {

struct F2 {
  static constexpr int kTile = 2;

  // G g
  static void weights(int a, int b, int c, int (&out)[4]) {
    out[0] = 2 * a;
    out[1] = a + b + c;
    out[2] = a - b + c;
    out[3] = 2 * c;
  }

  // B^T d
  static ZEROPOINT_INLINE void inputs(const __m256i (&d)[4], __m256i (&out)[4]) {
    out[0] = _mm256_sub_epi16(d[0], d[2]);
    out[1] = _mm256_add_epi16(d[1], d[2]);
    out[2] = _mm256_sub_epi16(d[2], d[1]);
    out[3] = _mm256_sub_epi16(d[1], d[3]);
  }

  // A^T m
  static ZEROPOINT_INLINE void sums(const __m256i (&m)[4], __m256i (&out)[2]) {
    out[0] = _mm256_add_epi32(m[0], _mm256_add_epi32(m[1], m[2]));
    out[1] = _mm256_sub_epi32(_mm256_sub_epi32(m[1], m[2]), m[3]);
  }

  // The accumulator, from 4 y, which fits int32.
  static ZEROPOINT_INLINE __m256i finish(__m256i scaled, __m256i bias, const int32_t*) {
    return _mm256_add_epi32(_mm256_srai_epi32(scaled, 2), bias);
  }
  static void centre(const int8_t*, size_t, int32_t&, int32_t&) {}
};

struct F4 {
  static constexpr int kTile = 4;

  static void weights(int a, int b, int c, int (&out)[6]) {
    out[0] = 6 * a;
    out[1] = -4 * (a + b + c);
    out[2] = -4 * (a - b + c);
    out[3] = a + 2 * b + 4 * c;
    out[4] = a - 2 * b + 4 * c;
    out[5] = 8 * c;
  }

  static ZEROPOINT_INLINE void inputs(const __m256i (&d)[6], __m256i (&out)[6]) {
    const __m256i d02 = _mm256_sub_epi16(d[0], d[2]), d42 = _mm256_sub_epi16(d[4], d[2]);
    const __m256i d31 = _mm256_sub_epi16(d[3], d[1]), d53 = _mm256_sub_epi16(d[5], d[3]);
    const __m256i even = _mm256_sub_epi16(d[4], _mm256_slli_epi16(d[2], 2));
    const __m256i odd = _mm256_sub_epi16(d[3], _mm256_slli_epi16(d[1], 2));
    const __m256i twice = _mm256_add_epi16(d31, d31);
    out[0] = _mm256_add_epi16(_mm256_slli_epi16(d02, 2), d42);
    out[1] = _mm256_add_epi16(even, odd);
    out[2] = _mm256_sub_epi16(even, odd);
    out[3] = _mm256_add_epi16(d42, twice);
    out[4] = _mm256_sub_epi16(d42, twice);
    out[5] = _mm256_sub_epi16(d53, _mm256_add_epi16(twice, twice));
  }

  static ZEROPOINT_INLINE void sums(const __m256i (&m)[6], __m256i (&out)[4]) {
    const __m256i a = _mm256_add_epi32(m[1], m[2]), b = _mm256_sub_epi32(m[1], m[2]);
    const __m256i c = _mm256_add_epi32(m[3], m[4]), d = _mm256_sub_epi32(m[3], m[4]);
    const __m256i twice = _mm256_add_epi32(d, d);
    const __m256i last = _mm256_add_epi32(m[5], _mm256_add_epi32(m[5], m[5]));
    out[0] = _mm256_add_epi32(_mm256_add_epi32(m[0], a), c);
    out[1] = _mm256_add_epi32(b, twice);
    out[2] = _mm256_add_epi32(a, _mm256_slli_epi32(c, 2));
    out[3] = _mm256_add_epi32(_mm256_add_epi32(b, last), _mm256_slli_epi32(twice, 2));
  }

  // The accumulator, from 576 y modulo 2^32: times the inverse of 9 it is 64 y; less 64 times the
  // centre of what y can be, that fits int32.
  static ZEROPOINT_INLINE __m256i finish(__m256i scaled, __m256i bias, const int32_t* centre) {
    const __m256i inverse_of_9 = _mm256_set1_epi32(954437177);
    const __m256i v = _mm256_sub_epi32(_mm256_mullo_epi32(scaled, inverse_of_9), load_256(centre));
    return _mm256_add_epi32(_mm256_srai_epi32(v, 6), bias);
  }

  // Sets `centre` to 64 times the middle of what y can be, which finish() subtracts; the middle is
  // added to the bias instead.
  static void centre(const int8_t* w, size_t count, int32_t& bias, int32_t& centre) {
    int32_t total = 0;
    for (size_t i = 0; i < count; ++i) total += w[i];
    const int32_t middle = total * kActMax / 2;
    centre = static_cast<int32_t>(static_cast<uint32_t>(middle) * 64u);
    bias = static_cast<int32_t>(static_cast<uint32_t>(bias) + static_cast<uint32_t>(middle));
  }
};

}  // namespace
}  // namespace zeropoint::winograd_s8
