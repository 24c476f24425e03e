// The transforms of winograd_s8.h in one dimension. For ISA files only.
//
// A transform of a square is that of its columns, then of its rows. V is a vector of unsigned
// integers in the compilers' notation, whose lanes wrap around: of 16 bits for weights and inputs,
// of 32 for sums. What fits where:
//   F2  inputs within [-510, 1020], weights within [-1152, 1152]
//   F4  inputs within [-12750, 17340], weights within [-18432, 18432]
// All fit 16 bits. Two products that a kernel adds are below 2^30 in magnitude.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/inlining.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace zeropoint::winograd_s8 {
namespace {

struct F2 {
  static constexpr int kTile = 2;
  static constexpr int64_t kMaxMagnitude = kMaxMagnitudeF2;
  static constexpr int kScaleBits = 2;  // s = 4

  // G g
  template <typename V>
  static ZEROPOINT_INLINE void weights(const V (&g)[3], V (&out)[4]) {
    const V ends = g[0] + g[2];
    out[0] = g[0] + g[0];
    out[1] = ends + g[1];
    out[2] = ends - g[1];
    out[3] = g[2] + g[2];
  }

  // B^T d
  template <typename V>
  static ZEROPOINT_INLINE void inputs(const V (&d)[4], V (&out)[4]) {
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
  }

  // A^T m
  template <typename V>
  static ZEROPOINT_INLINE void sums(const V (&m)[4], V (&out)[2]) {
    out[0] = m[0] + (m[1] + m[2]);
    out[1] = m[1] - m[2] - m[3];
  }

  // 2^kScaleBits times the accumulator less its bias, from 4 y, which fits int32.
  template <typename V>
  static ZEROPOINT_INLINE V descale(V scaled, V) {
    return scaled;
  }
  static void centre(const int8_t*, size_t, int32_t&, int32_t&) {}
};

struct F4 {
  static constexpr int kTile = 4;
  static constexpr int64_t kMaxMagnitude = kMaxMagnitudeF4;
  static constexpr int kScaleBits = 6;

  template <typename V>
  static ZEROPOINT_INLINE void weights(const V (&g)[3], V (&out)[6]) {
    const V ends = g[0] + g[2], far = g[0] + (g[2] << 2), twice = g[1] + g[1];
    out[0] = (g[0] + g[0] + g[0]) << 1;
    out[1] = -((ends + g[1]) << 2);
    out[2] = -((ends - g[1]) << 2);
    out[3] = far + twice;
    out[4] = far - twice;
    out[5] = g[2] << 3;
  }

  template <typename V>
  static ZEROPOINT_INLINE void inputs(const V (&d)[6], V (&out)[6]) {
    const V d02 = d[0] - d[2], d42 = d[4] - d[2];
    const V d31 = d[3] - d[1], d53 = d[5] - d[3];
    const V even = d[4] - (d[2] << 2), odd = d[3] - (d[1] << 2);
    const V twice = d31 + d31;
    out[0] = (d02 << 2) + d42;
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = d42 + twice;
    out[4] = d42 - twice;
    out[5] = d53 - (twice + twice);
  }

  template <typename V>
  static ZEROPOINT_INLINE void sums(const V (&m)[6], V (&out)[4]) {
    const V a = m[1] + m[2], b = m[1] - m[2];
    const V c = m[3] + m[4], d = m[3] - m[4];
    const V twice = d + d;
    const V last = m[5] + (m[5] + m[5]);
    out[0] = m[0] + a + c;
    out[1] = b + twice;
    out[2] = a + (c << 2);
    out[3] = b + last + (twice << 2);
  }

  // From 576 y modulo 2^32: times the inverse of 9 it is 64 y; less 64 times the centre of what y
  // can be, that fits int32.
  template <typename V>
  static ZEROPOINT_INLINE V descale(V scaled, V centre) {
    return scaled * 954437177u - centre;
  }

  // Sets `centre` to 64 times the middle of what y can be, which descale() subtracts; the middle is
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
