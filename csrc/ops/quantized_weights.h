// Reading the int8 weights of convolutions and linear layers: multipliers, the folded bias, and the
// proof that no accumulator can overflow.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ops/checks.h"
#include "ops/op.h"

namespace zeropoint {

// A layer's weights: where they lie in the model file, or a copy that was laid out anew.
template <typename T>
class WeightValues {
 public:
  WeightValues() = default;
  explicit WeightValues(const T* in_file) : in_file_(in_file) {}
  explicit WeightValues(std::vector<T> copy) : copy_(std::move(copy)) {}

  const T* data() const { return in_file_ != nullptr ? in_file_ : copy_.data(); }
  const T& operator[](size_t i) const { return data()[i]; }

 private:
  const T* in_file_ = nullptr;
  std::vector<T> copy_;
};

struct QuantizedWeights {
  int n = 0;
  int taps = 1;
  int depth = 0;
  // Above 1 where the weights are asymmetric: w - zero_point needs nine bits, so it is stored as
  // the sum of two int8 weights (three where a difference is 255) and every tap is read as often
  // (taps counts them all). Exact, at a multiple of the work, and no kernel has to know.
  int repeat = 1;
  WeightValues<int8_t> values;    // [n][taps][depth]
  std::vector<int32_t> bias;      // [n], as in the file; see fold_bias
  std::vector<float> multiplier;  // [n]
};

// `weights` is [n, ..., depth] with `taps` elements between; `bias` may be nullptr. Checks dtypes,
// shapes and scales. With an int32 output, raw accumulators, multipliers are all 1.
QuantizedWeights read_quantized_weights(const ValueInfo& x, const ValueInfo& weights,
                                        const ValueInfo* bias, const ValueInfo& y);

// The same for weights whose zero points are a constant of their own, one or one for each output
// channel, or nullptr for 0: no scales, no bias, multipliers all 1.
QuantizedWeights read_integer_weights(const ValueInfo& weights, const ValueInfo* zero_points);

// bias[n] - zero_point * sum_k w[n][k] for weights [n][k], as the kernels take it, and the proof
// for each channel that sum|w| * 255 + |bias folded for uint8 activations| < 2^31; an error names
// `layer`.
std::vector<int32_t> fold_bias(const int8_t* weights, int n, int64_t k, const int32_t* bias,
                               int32_t zero_point, const std::string& layer);

// The float32 bias as a vector of n values (zeros where absent), checked.
std::vector<float> read_float_bias(const ValueInfo* bias, int64_t n);

}  // namespace zeropoint
