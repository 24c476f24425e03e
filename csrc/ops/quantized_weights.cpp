#include "ops/quantized_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace zeropoint {
namespace {

// So many weights can be summed in 32 bits.
constexpr int64_t kSumBlock = 1 << 16;

const ValueInfo& require_activation(const ValueInfo& value, const char* role) {
  if (value.dtype != DType::s8 || !value.quantized) {
    throw Error(ErrorCode::invalid_model, std::string(role) + " '" + value.name + "' is " +
                                              dtype_name(value.dtype) +
                                              "; expected int8 with a scale and zero point");
  }
  return value;
}

// The number of output channels of weights that are as they must be.
int64_t checked_channels(const ValueInfo& weights) {
  if (!weights.is_constant() || weights.dtype != DType::s8 || weights.shape.rank() < 2) {
    throw Error(ErrorCode::invalid_model,
                "weights '" + weights.name + "' must be an int8 constant of rank 2 or more");
  }
  const int64_t n = weights.shape[0];
  const int64_t k = weights.shape.elements(1, weights.shape.rank());
  if (n <= 0 || k <= 0 ||
      checked_mul(n, k, "a layer's weight count") > std::numeric_limits<int32_t>::max() / 2) {
    throw Error(ErrorCode::invalid_model, "weights '" + weights.name + "' have the shape " +
                                              weights.shape.to_string() +
                                              ", which is empty or too large");
  }
  return n;
}

// Weights less their zero points, one or one a channel; bias 0, multipliers 1.
QuantizedWeights center_weights(const ValueInfo& weights, const std::vector<int32_t>& zero_points) {
  const Shape& shape = weights.shape;
  const int64_t n = shape[0], k = shape.elements(1, shape.rank());
  QuantizedWeights out;
  out.n = static_cast<int>(n);
  out.depth = static_cast<int>(shape.back());
  const auto zero_point_of = [&](int64_t c) {
    return zero_points[zero_points.size() == 1 ? 0 : static_cast<size_t>(c)];
  };
  const int8_t* data = weights.constant->as<int8_t>();
  for (int64_t c = 0; c < n; ++c) {
    const int32_t zero_point = zero_point_of(c);
    if (zero_point == 0) continue;
    out.repeat = std::max(out.repeat, 2);
    const int8_t* row = data + c * k;
    if (zero_point == -128 && std::find(row, row + k, 127) != row + k) out.repeat = 3;  // 255
  }
  if (n * k * out.repeat > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorCode::unsupported,
                "weights '" + weights.name + "' of the shape " + shape.to_string() +
                    " are too large for zero points other than 0: make them symmetric");
  }
  out.taps = static_cast<int>(shape.elements(1, shape.rank() - 1)) * out.repeat;
  out.bias.resize(static_cast<size_t>(n));
  out.multiplier.assign(static_cast<size_t>(n), 1.0f);
  if (out.repeat == 1) {
    out.values = WeightValues<int8_t>(data);
    return out;
  }
  std::vector<int8_t> parts(static_cast<size_t>(n * k * out.repeat));
  for (int64_t c = 0; c < n; ++c) {
    const int32_t zero_point = zero_point_of(c);
    const int8_t* row = data + c * k;
    int8_t* first = parts.data() + c * k * out.repeat;
    for (int64_t i = 0; i < k; ++i) {
      int32_t rest = row[i] - zero_point;
      for (int r = 0; r < out.repeat; ++r) {
        const int32_t part = rest / (out.repeat - r);
        first[r * k + i] = static_cast<int8_t>(part);
        rest -= part;
      }
    }
  }
  out.values = WeightValues<int8_t>(std::move(parts));
  return out;
}

}  // namespace

QuantizedWeights read_quantized_weights(const ValueInfo& x, const ValueInfo& weights,
                                        const ValueInfo* bias, const ValueInfo& y) {
  require_activation(x, "input");
  const bool raw = y.dtype == DType::s32;
  if (!raw) require_activation(y, "output");
  const int64_t n = checked_channels(weights);
  const Constant& w = *weights.constant;
  const bool per_channel = w.axis >= 0;
  if (w.scales.size() != w.zero_points.size() || w.scales.empty() ||
      (per_channel ? w.axis != 0 || static_cast<int64_t>(w.scales.size()) != n
                   : w.scales.size() != 1)) {
    throw Error(ErrorCode::invalid_model,
                "weights '" + weights.name +
                    "' need one scale and zero point, or one for each output channel (axis 0)");
  }
  QuantizedWeights out = center_weights(weights, w.zero_points);
  if (bias != nullptr) {
    if (!bias->is_constant() || bias->dtype != DType::s32 || bias->shape != Shape{n}) {
      throw Error(ErrorCode::invalid_model, "bias '" + bias->name +
                                                "' must be an int32 constant of " +
                                                std::to_string(n) + " elements");
    }
    const int32_t* data = bias->constant->as<int32_t>();
    out.bias.assign(data, data + n);
  }
  for (int64_t c = 0; c < n && !raw; ++c) {
    const float scale = w.scales[per_channel ? static_cast<size_t>(c) : 0];
    const float m = requantize_multiplier(x.quant.scale, scale, y.quant.scale);
    if (!std::isfinite(m)) {
      throw Error(ErrorCode::invalid_model,
                  "output channel " + std::to_string(c) + " has scales whose ratio is not finite");
    }
    out.multiplier[static_cast<size_t>(c)] = m;
  }
  return out;
}

QuantizedWeights read_integer_weights(const ValueInfo& weights, const ValueInfo* zero_points) {
  const int64_t n = checked_channels(weights);
  std::vector<int32_t> values{0};
  if (zero_points != nullptr) {
    const Shape& shape = zero_points->shape;
    if (!zero_points->is_constant() || zero_points->dtype != DType::s8 || shape.rank() > 1 ||
        (shape.elements() != 1 && shape.elements() != n)) {
      throw Error(ErrorCode::invalid_model, "the weights' zero points '" + zero_points->name +
                                                "' must be an int8 constant, one or " +
                                                std::to_string(n));
    }
    const int8_t* data = zero_points->constant->as<int8_t>();
    values.assign(data, data + shape.elements());
  }
  return center_weights(weights, values);
}

std::vector<int32_t> fold_bias(const int8_t* weights, int n, int64_t k, const int32_t* bias,
                               int32_t zero_point, const std::string& layer) {
  std::vector<int32_t> result(static_cast<size_t>(n));
  for (int c = 0; c < n; ++c, weights += k) {
    int64_t sum = 0, magnitude = 0;
    for (int64_t block = 0; block < k; block += kSumBlock) {
      int32_t block_sum = 0, block_magnitude = 0;  // narrow, so that the compiler vectorizes them
      for (int64_t i = block; i < std::min(k, block + kSumBlock); ++i) {
        block_sum += weights[i];
        block_magnitude += std::abs(static_cast<int32_t>(weights[i]));
      }
      sum += block_sum;
      magnitude += block_magnitude;
    }
    const int64_t folded = bias[c] - zero_point * sum;
    // The proof is for activations of 0..255 on every architecture, so that all accept the same
    // models. It covers signed ones: there a sum over any part of K is the unsigned bias plus w
    // times 0..255 over that part and w times 128 over the rest.
    const int64_t unsigned_folded = folded - (128 - kActOffset) * sum;
    if (magnitude * 255 + std::abs(unsigned_folded) > std::numeric_limits<int32_t>::max()) {
      throw Error(ErrorCode::unsupported,
                  "output channel " + std::to_string(c) + " of weights '" + layer +
                      "' could overflow its 32-bit accumulator (sum of |w| is " +
                      std::to_string(magnitude) + ", folded bias " +
                      std::to_string(unsigned_folded) + "); keep this layer in float32");
    }
    result[static_cast<size_t>(c)] = static_cast<int32_t>(folded);
  }
  return result;
}

std::vector<float> read_float_bias(const ValueInfo* bias, int64_t n) {
  if (bias == nullptr) return std::vector<float>(static_cast<size_t>(n), 0.0f);
  if (!bias->is_constant() || bias->dtype != DType::f32 || bias->shape != Shape{n}) {
    throw Error(ErrorCode::invalid_model, "bias '" + bias->name +
                                              "' must be a float32 constant of " +
                                              std::to_string(n) + " elements");
  }
  const float* data = bias->constant->as<float>();
  return std::vector<float>(data, data + n);
}

}  // namespace zeropoint
