// Parameters of a tensor that is quantized by its own range when it is known: ONNX
// DynamicQuantizeLinear.
#pragma once

#include <cmath>

#include "quant/requantize.h"

namespace zeropoint {

// For lo = min(0, x...) and hi = max(0, x...): scale = (hi - lo) / 255, 1 for a tensor of zeros,
// and zero_point = clamp(round_half_even(0 - lo / scale), 0, 255), in the stored domain here; a NaN
// (where hi - lo overflows or is lost among denormals) counts as 0.
static inline QuantParams dynamic_params(float lo, float hi) {
  QuantParams params;
  params.scale = lo == hi ? 1.0f : (hi - lo) / 255.0f;
  float zero_point = 0.0f - lo / params.scale;
  if (!(zero_point > 0.0f)) zero_point = 0.0f;
  if (zero_point > 255.0f) zero_point = 255.0f;
  params.zero_point = static_cast<int32_t>(std::nearbyintf(zero_point)) + kActMin;
  return params;
}

}  // namespace zeropoint
