// Reading the int8 weights of convolutions and linear layers: multipliers, the folded bias, and the
// proof that no accumulator can overflow.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace zeropoint {

struct QuantizedWeights {
  int n = 0;
  int taps = 1;
  int depth = 0;
  // 2 where the weights are asymmetric: w - zero_point needs nine bits, so it is stored as the sum
  // of two int8 weights and every tap is read twice (taps counts both). Exact, at twice the work,
  // and no kernel has to know.
  int repeat = 1;
  std::vector<int8_t> values;     // [n][taps][depth]
  std::vector<int32_t> bias;      // [n], the input's zero point folded in
  std::vector<float> multiplier;  // [n]
};

// `weights` is [n, ..., depth] with `taps` elements between; `bias` may be nullptr. Checks dtypes,
// scales and the accumulator bound sum|w| * 255 + |folded bias| < 2^31.
QuantizedWeights read_quantized_weights(const ValueInfo& x, const ValueInfo& weights,
                                        const ValueInfo* bias, const ValueInfo& y);

// The output's zero point with qmin and qmax of the node's fused activation.
OutputClamp output_clamp(const NodeInfo& node, const ValueInfo& y);

// Fused clip of a float32 node: clip_min and clip_max, unbounded where absent.
struct FloatClip {
  float lo, hi;
};
FloatClip float_clip(const NodeInfo& node);

// The float32 bias as a vector of n values (zeros where absent), checked.
std::vector<float> read_float_bias(const ValueInfo* bias, int64_t n);

}  // namespace zeropoint
