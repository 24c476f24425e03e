// A second addend of a layer's output, for kernels that multiply. Plain declarations only, as ISA
// files include it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/requantize.h"

namespace zeropoint {

// What is stored is add(c, residual), zeropoint::add of the result c that the product alone would
// have stored.
struct Residual {
  const act_t* data = nullptr;  // row m starts at data + m * stride; nullptr: nothing is added
  ptrdiff_t stride = 0;
  int32_t zero_point = 0;
  // The two multipliers of zeropoint::add, below kMaxMultiplier in magnitude.
  float multiplier_c = 0.0f, multiplier = 0.0f;
  OutputClamp clamp;  // of the sum

  // Keeps sums far from where a conversion to int32 would overflow.
  static constexpr float kMaxMultiplier = 1e6f;
};

}  // namespace zeropoint
