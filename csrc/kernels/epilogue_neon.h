// The last steps of requantization with Armv8.0 NEON: 16 or 8 scaled values -> as many bytes, and
// loads and stores of fewer. For ISA files only.
//
// fcvtns rounds to nearest, ties to even; it saturates values outside int32 and turns a NaN into 0,
// as round_clamp does, so any float may come in. Every later step saturates too: int32 -> int16,
// the addition of the zero point, int16 -> int8. The true result lies outside int8 whenever one of
// them does saturate, on the same side, and the clamp of the bytes finishes it. So, unlike on x86,
// nothing has to be bounded in float.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "quant/requantize.h"

namespace zeropoint {

static_assert(kActOffset == 0, "activations are int8 here");

struct NeonEpilogue {
  int16x8_t zero_point;
  int8x16_t qmin, qmax;
};

static inline NeonEpilogue neon_epilogue(const OutputClamp& out) {
  return {vdupq_n_s16(static_cast<int16_t>(out.zero_point)),
          vdupq_n_s8(static_cast<int8_t>(out.qmin)), vdupq_n_s8(static_cast<int8_t>(out.qmax))};
}

// round_half_even(v) + zero point, saturated to int16.
static inline int16x8_t neon_round(float32x4_t v0, float32x4_t v1, int16x8_t zero_point) {
  const int16x4_t lo = vqmovn_s32(vcvtnq_s32_f32(v0));
  return vqaddq_s16(vqmovn_high_s32(lo, vcvtnq_s32_f32(v1)), zero_point);
}

// round_clamp of 16 values, in order.
static inline int8x16_t neon_round_clamp(float32x4_t v0, float32x4_t v1, float32x4_t v2,
                                         float32x4_t v3, const NeonEpilogue& e) {
  const int8x8_t lo = vqmovn_s16(neon_round(v0, v1, e.zero_point));
  const int8x16_t bytes = vqmovn_high_s16(lo, neon_round(v2, v3, e.zero_point));
  return vminq_s8(vmaxq_s8(bytes, e.qmin), e.qmax);
}

// round_clamp of 8 values, in order.
static inline int8x8_t neon_round_clamp(float32x4_t v0, float32x4_t v1, const NeonEpilogue& e) {
  const int8x8_t bytes = vqmovn_s16(neon_round(v0, v1, e.zero_point));
  return vmin_s8(vmax_s8(bytes, vget_low_s8(e.qmin)), vget_low_s8(e.qmax));
}

// What requantize scales: round_clamp of it is the result.
static inline float32x4_t neon_scale(int32x4_t acc, float32x4_t multiplier) {
  return vmulq_f32(vcvtq_f32_s32(acc), multiplier);
}

// q - zero_point of 4 or 8 activations as floats, exact.
static inline float32x4_t neon_center_low(int16x8_t q, int16x8_t zero_point) {
  return vcvtq_f32_s32(vsubl_s16(vget_low_s16(q), vget_low_s16(zero_point)));
}
static inline float32x4_t neon_center_high(int16x8_t q, int16x8_t zero_point) {
  return vcvtq_f32_s32(vsubl_high_s16(q, zero_point));
}
static inline float32x4x2_t neon_center(int8x8_t q, int16x8_t zero_point) {
  const int16x8_t wide = vmovl_s8(q);
  return {{neon_center_low(wide, zero_point), neon_center_high(wide, zero_point)}};
}

// Of an activation that is used at once, in registers: the result of round_clamp less its zero
// point, as a float. `lo` and `hi` are qmin and qmax less the zero point. v may not be a NaN.
static inline float32x4_t neon_round_centered(float32x4_t v, float32x4_t lo, float32x4_t hi) {
  return vminq_f32(vmaxq_f32(vrndnq_f32(v), lo), hi);
}

// The first `count` of 8 or 16 bytes; the others are 0, or are not stored. No byte beyond is
// touched.
static inline int8x8_t neon_load_first_8(const int8_t* x, int count) {
  if (count >= 8) return vld1_s8(x);
  int8_t bytes[8] = {};
  __builtin_memcpy(bytes, x, static_cast<size_t>(count));
  return vld1_s8(bytes);
}
static inline int8x16_t neon_load_first(const int8_t* x, int count) {
  if (count >= 16) return vld1q_s8(x);
  int8_t bytes[16] = {};
  __builtin_memcpy(bytes, x, static_cast<size_t>(count));
  return vld1q_s8(bytes);
}
static inline void neon_store_first_8(int8_t* y, int8x8_t v, int count) {
  if (count >= 8) {
    vst1_s8(y, v);
    return;
  }
  if ((count & 4) != 0) {
    const int32_t four = vget_lane_s32(vreinterpret_s32_s8(v), 0);
    __builtin_memcpy(y, &four, 4);
    v = vext_s8(v, v, 4);
    y += 4;
  }
  if ((count & 2) != 0) {
    const int16_t two = vget_lane_s16(vreinterpret_s16_s8(v), 0);
    __builtin_memcpy(y, &two, 2);
    v = vext_s8(v, v, 2);
    y += 2;
  }
  if ((count & 1) != 0) vst1_lane_s8(y, v, 0);
}
static inline void neon_store_first(int8_t* y, int8x16_t v, int count) {
  if (count >= 16) {
    vst1q_s8(y, v);
  } else if (count >= 8) {
    vst1_s8(y, vget_low_s8(v));
    neon_store_first_8(y + 8, vget_high_s8(v), count - 8);
  } else {
    neon_store_first_8(y, vget_low_s8(v), count);
  }
}

}  // namespace zeropoint
