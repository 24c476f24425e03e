#include "ops/quantized_weights.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace zeropoint {
namespace {

const ValueInfo& require_activation(const ValueInfo& value, const char* role) {
  if (value.dtype != DType::s8 || !value.quantized) {
    throw Error(ErrorCode::invalid_model, std::string(role) + " '" + value.name + "' is " +
                                              dtype_name(value.dtype) +
                                              "; expected int8 with a scale and zero point");
  }
  return value;
}

}  // namespace

QuantizedWeights read_quantized_weights(const ValueInfo& x, const ValueInfo& weights,
                                        const ValueInfo* bias, const ValueInfo& y) {
  require_activation(x, "input");
  require_activation(y, "output");
  if (!weights.is_constant() || weights.dtype != DType::s8 || weights.shape.rank() < 2) {
    throw Error(ErrorCode::invalid_model,
                "weights '" + weights.name + "' must be an int8 constant of rank 2 or more");
  }
  const Constant& w = *weights.constant;
  const int64_t n = weights.shape[0], depth = weights.shape.back();
  const int64_t taps = weights.shape.elements(1, weights.shape.rank() - 1);
  const int64_t k = checked_mul(taps, depth, "a layer's weight count");
  if (n <= 0 || k <= 0 ||
      checked_mul(n, k, "a layer's weight count") > std::numeric_limits<int32_t>::max() / 2) {
    throw Error(ErrorCode::invalid_model, "weights '" + weights.name + "' have the shape " +
                                              weights.shape.to_string() +
                                              ", which is empty or too large");
  }
  const bool per_channel = w.axis >= 0;
  if (w.scales.size() != w.zero_points.size() || w.scales.empty() ||
      (per_channel ? w.axis != 0 || static_cast<int64_t>(w.scales.size()) != n
                   : w.scales.size() != 1)) {
    throw Error(ErrorCode::invalid_model,
                "weights '" + weights.name +
                    "' need one scale and zero point, or one for each output channel (axis 0)");
  }
  const int32_t* bias_data = nullptr;
  if (bias != nullptr) {
    if (!bias->is_constant() || bias->dtype != DType::s32 || bias->shape != Shape{n}) {
      throw Error(ErrorCode::invalid_model, "bias '" + bias->name +
                                                "' must be an int32 constant of " +
                                                std::to_string(n) + " elements");
    }
    bias_data = bias->constant->as<int32_t>();
  }

  QuantizedWeights out;
  out.n = static_cast<int>(n);
  out.depth = static_cast<int>(depth);
  for (int32_t zero_point : w.zero_points) {
    if (zero_point != 0) out.repeat = 2;
  }
  out.taps = static_cast<int>(taps) * out.repeat;
  out.values.resize(static_cast<size_t>(n * k * out.repeat));
  out.bias.resize(static_cast<size_t>(n));
  out.multiplier.resize(static_cast<size_t>(n));

  for (int64_t c = 0; c < n; ++c) {
    const size_t q = per_channel ? static_cast<size_t>(c) : 0;
    const int8_t* row = w.as<int8_t>() + c * k;
    int8_t* first = out.values.data() + c * k * out.repeat;
    for (int64_t i = 0; i < k; ++i) {
      const int32_t value = row[i] - w.zero_points[q];
      const int32_t half = value / 2;
      if (out.repeat == 1) {
        first[i] = static_cast<int8_t>(value);
      } else {
        first[i] = static_cast<int8_t>(half);
        first[k + i] = static_cast<int8_t>(value - half);
      }
    }
    if (bias_data != nullptr) out.bias[static_cast<size_t>(c)] = bias_data[c];
    const float m = requantize_multiplier(x.quant.scale, w.scales[q], y.quant.scale);
    if (!std::isfinite(m)) {
      throw Error(ErrorCode::invalid_model,
                  "output channel " + std::to_string(c) + " has scales whose ratio is not finite");
    }
    out.multiplier[static_cast<size_t>(c)] = m;
  }
  return out;
}

std::vector<int32_t> fold_bias(const int8_t* weights, int n, int64_t k, const int32_t* bias,
                               int32_t zero_point, const std::string& layer) {
  std::vector<int32_t> result(static_cast<size_t>(n));
  for (int c = 0; c < n; ++c, weights += k) {
    int64_t sum = 0, magnitude = 0;
    for (int64_t i = 0; i < k; ++i) {
      sum += weights[i];
      magnitude += std::abs(weights[i]);
    }
    const int64_t folded = bias[c] - zero_point * sum;
    if (magnitude * 255 + std::abs(folded) > std::numeric_limits<int32_t>::max()) {
      throw Error(ErrorCode::unsupported,
                  "output channel " + std::to_string(c) + " of weights '" + layer +
                      "' could overflow its 32-bit accumulator (sum of |w| is " +
                      std::to_string(magnitude) + ", folded bias " + std::to_string(folded) +
                      "); keep this layer in float32");
    }
    result[static_cast<size_t>(c)] = static_cast<int32_t>(folded);
  }
  return result;
}

OutputClamp output_clamp(const NodeInfo& node, const ValueInfo& y) {
  OutputClamp clamp;
  clamp.zero_point = y.quant.zero_point;
  const int64_t qmin = node.attributes.get_int("qmin", -128);
  const int64_t qmax = node.attributes.get_int("qmax", 127);
  if (qmin < -128 || qmax > 127 || qmin > qmax) {
    throw Error(ErrorCode::invalid_model, "qmin " + std::to_string(qmin) + " and qmax " +
                                              std::to_string(qmax) +
                                              " must be an ordered range within [-128, 127]");
  }
  clamp.qmin = static_cast<int32_t>(qmin) + kActOffset;
  clamp.qmax = static_cast<int32_t>(qmax) + kActOffset;
  return clamp;
}

FloatClip float_clip(const NodeInfo& node) {
  const double infinity = std::numeric_limits<double>::infinity();
  const FloatClip clip{static_cast<float>(node.attributes.get_float("clip_min", -infinity)),
                       static_cast<float>(node.attributes.get_float("clip_max", infinity))};
  if (!(clip.lo <= clip.hi)) {
    throw Error(ErrorCode::invalid_model, "clip_min must not be above clip_max");
  }
  return clip;
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
