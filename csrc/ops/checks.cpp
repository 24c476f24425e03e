#include "ops/checks.h"

#include <cmath>
#include <limits>

#include "base/error.h"

namespace zeropoint {
namespace {

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::invalid_model, message);
}

std::string quoted(const ValueInfo& value) { return "value '" + value.name + "'"; }

}  // namespace

void expect_inputs(const NodeInfo& node, size_t least, size_t most) {
  const size_t count = node.inputs.size();
  if (count < least || count > most) {
    fail("the node has " + std::to_string(count) + " inputs, expected " + std::to_string(least) +
         (most == least ? "" : " to " + std::to_string(most)));
  }
  for (size_t i = 0; i < least; ++i) node.input(i);
}

void expect_outputs(const NodeInfo& node, size_t count) {
  if (node.outputs.size() != count) {
    fail("the node has " + std::to_string(node.outputs.size()) + " outputs, expected " +
         std::to_string(count));
  }
  for (size_t i = 0; i < count; ++i) node.output(i);
}

void expect_dtype(const ValueInfo& value, DType dtype) {
  if (value.dtype != dtype) {
    fail(quoted(value) + " is " + dtype_name(value.dtype) + ", expected " + dtype_name(dtype));
  }
}

void expect_same_dtype(const ValueInfo& input, const ValueInfo& output) {
  if (input.dtype != output.dtype) {
    fail(quoted(output) + " is " + dtype_name(output.dtype) + " but " + quoted(input) + " is " +
         dtype_name(input.dtype) + "; this operator keeps the dtype");
  }
}

void expect_rank(const Shape& shape, int rank, const char* layout) {
  if (shape.rank() != rank) {
    fail("the input has shape " + shape.to_string() + ", expected " + std::to_string(rank) +
         " dimensions " + layout);
  }
}

void expect_float_only(const NodeInfo& node) {
  const ValueInfo& x = node.input(0);
  if (x.dtype != DType::f32) {
    throw Error(ErrorCode::unsupported, "operator '" + node.op + "' has no " + dtype_name(x.dtype) +
                                            " form (" + quoted(x) + "); keep it in float32" +
                                            (x.dtype == DType::s8 ? " or use a lookup" : ""));
  }
}

bool expect_float_or_int8(const NodeInfo& node) {
  const ValueInfo& x = node.input(0);
  if (x.dtype != DType::f32 && x.dtype != DType::s8) {
    throw Error(ErrorCode::unsupported, "operator '" + node.op + "' has no " + dtype_name(x.dtype) +
                                            " form (" + quoted(x) + "), only float32 and int8");
  }
  return x.dtype == DType::s8;
}

QuantParams quant_of(const ValueInfo& value) {
  expect_dtype(value, DType::s8);
  QuantParams params = value.quant;
  if (value.is_constant()) {
    const Constant& constant = *value.constant;
    if (constant.axis != -1 || constant.scales.size() != 1 || constant.zero_points.size() != 1) {
      fail("the int8 constant '" + value.name +
           "' is used as an activation, so it needs one scale and zero point");
    }
    // Out-of-range zero points are refused below; the sum must not overflow before that.
    const int64_t zero_point = int64_t{constant.zero_points[0]} + kActOffset;
    params.scale = constant.scales[0];
    params.zero_point = zero_point < kActMin || zero_point > kActMax
                            ? kActMin - 1
                            : static_cast<int32_t>(zero_point);
  } else if (!value.quantized) {
    fail(quoted(value) + " is int8 but has no scale and zero point");
  }
  if (!(std::isfinite(params.scale) && params.scale > 0.0f)) {
    fail(quoted(value) + " has the scale " + std::to_string(params.scale) +
         ", expected a finite number > 0");
  }
  if (params.zero_point < kActMin || params.zero_point > kActMax) {
    fail(quoted(value) + " has a zero point outside of int8");
  }
  return params;
}

void expect_same_meaning(const ValueInfo& input, const ValueInfo& output) {
  expect_same_dtype(input, output);
  if (input.dtype != DType::s8) return;
  // Run-time parameters belong to both.
  const bool plain = input.is_constant() ? input.constant->scales.empty() : !input.quantized;
  if (plain && !output.quantized) return;
  const QuantParams x = quant_of(input);
  const QuantParams y = quant_of(output);
  if (!(x == y)) {
    const auto show = [](const QuantParams& p) {
      return "scale " + std::to_string(p.scale) + ", zero point " +
             std::to_string(p.zero_point - kActOffset);
    };
    fail(quoted(input) + " (" + show(x) + ") and " + quoted(output) + " (" + show(y) +
         ") must have the same scale and zero point; requantize the input with a lookup first");
  }
}

float checked_multiplier(float multiplier) {
  if (!std::isfinite(multiplier)) {
    fail("the scales of inputs and output are too far apart: their ratio is not a finite float32");
  }
  return multiplier;
}

OutputClamp full_clamp(const ValueInfo& output) {
  OutputClamp clamp;
  clamp.zero_point = quant_of(output).zero_point;
  return clamp;
}

OutputClamp fused_clamp(const NodeInfo& node) {
  OutputClamp clamp = full_clamp(node.output());
  const int64_t qmin = node.attributes.get_int("qmin", -128);
  const int64_t qmax = node.attributes.get_int("qmax", 127);
  if (qmin < -128 || qmax > 127 || qmin > qmax) {
    fail("the fused clip is [" + std::to_string(qmin) + ", " + std::to_string(qmax) +
         "], expected a range within [-128, 127]");
  }
  clamp.qmin = static_cast<int32_t>(qmin) + kActOffset;
  clamp.qmax = static_cast<int32_t>(qmax) + kActOffset;
  return clamp;
}

void expect_no_activation(const NodeInfo& node) {
  if (node.attributes.has("qmin") || node.attributes.has("qmax")) {
    fail("the output is int32, raw accumulators, which no fused clip (qmin, qmax) can act on");
  }
}

FloatClip fused_clip(const Attributes& attributes) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double lo = attributes.get_float("clip_min", -infinity);
  const double hi = attributes.get_float("clip_max", infinity);
  if (!(lo <= hi)) {
    fail("the fused clip is [" + std::to_string(lo) + ", " + std::to_string(hi) +
         "], expected clip_min <= clip_max");
  }
  return {static_cast<float>(lo), static_cast<float>(hi)};
}

int checked_axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    fail("axis " + std::to_string(axis) + " does not exist in a tensor of " + std::to_string(rank) +
         " dimensions");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace zeropoint
