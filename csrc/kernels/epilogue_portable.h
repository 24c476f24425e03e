// Requantization that a compiler can vectorize without rounding instructions, for portable kernels.
#pragma once

#include <cstdint>

#include "quant/requantize.h"

namespace zeropoint {

// OutputClamp in the form the loops want.
struct PortableEpilogue {
  float lo;
  float hi;
  int32_t zero_point;
};

static inline PortableEpilogue portable_epilogue(const OutputClamp& out) {
  return {static_cast<float>(out.qmin - out.zero_point),
          static_cast<float>(out.qmax - out.zero_point), out.zero_point};
}

// Equals round_clamp for every value that is not a NaN. After the clamp |value| <= 255, and at
// 1.5 * 2^23 a float32 has a spacing of 1, so the addition itself rounds half to even.
static inline act_t portable_round_clamp(float value, const PortableEpilogue& e) {
  constexpr float kRounder = 12582912.0f;
  value = value < e.lo ? e.lo : value;
  value = value > e.hi ? e.hi : value;
  const float rounded = (value + kRounder) - kRounder;
  return static_cast<act_t>(static_cast<int32_t>(rounded) + e.zero_point);
}

}  // namespace zeropoint
