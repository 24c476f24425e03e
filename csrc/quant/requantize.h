// THE arithmetic of zeropoint, one scalar function a rule. Kernels equal these to the bit.
//
// All functions work on the stored domain (quant/activation.h). Rounding is to nearest, ties to
// even; every float operation is a separately rounded float32 operation (no contraction), except
// where std::fma is written. Functions are file-local: ISA files include this header, and must not
// share inline code with files compiled for another CPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "quant/activation.h"

namespace zeropoint {

// real = scale * (q - zero_point), zero_point in the stored domain.
struct QuantParams {
  float scale = 1.0f;
  int32_t zero_point = kActOffset;

  bool operator==(const QuantParams& o) const {
    return scale == o.scale && zero_point == o.zero_point;
  }
};

// The output side of a quantized operator: results are clamped to [qmin, qmax], within
// [kActMin, kActMax]; a fused relu or clip narrows it.
struct OutputClamp {
  int32_t zero_point = kActOffset;
  int32_t qmin = kActMin;
  int32_t qmax = kActMax;
};

// clamp(round_half_even(value) + zero_point). Clamping before rounding gives the same result and
// keeps the conversion in range; a NaN (only possible from a NaN input) counts as 0.
static inline act_t round_clamp(float value, const OutputClamp& out) {
  const float lo = static_cast<float>(out.qmin - out.zero_point);
  const float hi = static_cast<float>(out.qmax - out.zero_point);
  if (!(value == value)) value = 0.0f;
  if (value < lo) value = lo;
  if (value > hi) value = hi;
  return static_cast<act_t>(static_cast<int32_t>(std::nearbyintf(value)) + out.zero_point);
}

// m[c] = (s_x * s_w[c]) / s_y in float32, in that order.
static inline float requantize_multiplier(float s_x, float s_w, float s_y) {
  return (s_x * s_w) / s_y;
}

// Accumulator of a dot product -> activation.
static inline act_t requantize(int32_t acc, float multiplier, const OutputClamp& out) {
  return round_clamp(static_cast<float>(acc) * multiplier, out);
}

// q = clamp(round_half_even(x / scale) + zero_point): ONNX QuantizeLinear.
static inline act_t quantize(float x, float scale, const OutputClamp& out) {
  return round_clamp(x / scale, out);
}

// (q - zero_point) * scale: ONNX DequantizeLinear.
static inline float dequantize(act_t q, const QuantParams& p) {
  return static_cast<float>(static_cast<int32_t>(q) - p.zero_point) * p.scale;
}

// a + b with ma = s_a / s_y and mb = s_b / s_y (mb negated for a - b).
static inline act_t add(act_t a, int32_t zero_a, float ma, act_t b, int32_t zero_b, float mb,
                        const OutputClamp& out) {
  const float x = static_cast<float>(static_cast<int32_t>(a) - zero_a) * ma;
  const float y = static_cast<float>(static_cast<int32_t>(b) - zero_b) * mb;
  return round_clamp(x + y, out);
}

// a * b with m = (s_a * s_b) / s_y; the product of the differences is an exact integer.
static inline act_t mul(act_t a, int32_t zero_a, act_t b, int32_t zero_b, float m,
                        const OutputClamp& out) {
  const int32_t product = (static_cast<int32_t>(a) - zero_a) * (static_cast<int32_t>(b) - zero_b);
  return round_clamp(static_cast<float>(product) * m, out);
}

// Mean over `count` elements: the sum of (q - zero_point) is an exact integer, then requantize
// with this multiplier.
static inline float mean_multiplier(float s_x, int64_t count, float s_y) {
  return (s_x * (1.0f / static_cast<float>(count))) / s_y;
}

}  // namespace zeropoint
