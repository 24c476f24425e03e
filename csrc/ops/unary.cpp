// Functions of each element alone, in float32. Their int8 forms are lookups.
#include <cmath>
#include <memory>
#include <string>

#include "kernels/elementwise_f32/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

namespace ef = elementwise_f32;

struct UnaryEntry {
  const char* op;
  ef::Unary function;
  double nanoseconds;  // an element, roughly: how finely to split
};

constexpr UnaryEntry kUnaryEntries[] = {
    {"abs", ef::Unary::abs, 0.3},
    {"clip", ef::Unary::clip, 0.3},
    {"elu", ef::Unary::elu, 1.0},
    {"erf", ef::Unary::erf, 1.0},
    {"exp", ef::Unary::exp, 1.0},
    {"gelu", ef::Unary::gelu, 1.0},
    {"gelu_tanh", ef::Unary::gelu_tanh, 1.0},
    {"hard_sigmoid", ef::Unary::hard_sigmoid, 0.3},
    {"hard_swish", ef::Unary::hard_swish, 0.3},
    {"leaky_relu", ef::Unary::leaky_relu, 0.3},
    {"log", ef::Unary::log, 1.0},
    {"mish", ef::Unary::mish, 2.0},
    {"neg", ef::Unary::neg, 0.3},
    {"pow", ef::Unary::pow, 2.0},
    {"relu", ef::Unary::relu, 0.3},
    {"sigmoid", ef::Unary::sigmoid, 1.0},
    {"silu", ef::Unary::silu, 1.0},
    {"softplus", ef::Unary::softplus, 1.0},
    {"sqrt", ef::Unary::sqrt, 0.5},
    {"tanh", ef::Unary::tanh, 1.0},
};

const UnaryEntry& unary_entry(const std::string& op) {
  for (const UnaryEntry& entry : kUnaryEntries) {
    if (op == entry.op) return entry;
  }
  throw Error(ErrorCode::unsupported, "'" + op + "' is not a unary operator");
}

float read_number(const Attributes& attributes, const char* key, double fallback) {
  const double value = attributes.get_float(key, fallback);
  if (value != value) {
    throw Error(ErrorCode::invalid_model, std::string("attribute '") + key + "' is not a number");
  }
  return static_cast<float>(value);
}

class UnaryOp final : public Op {
 public:
  UnaryOp(const NodeInfo& node, const OpContext& context)
      : kernel_(ef::select(context.isa)), entry_(unary_entry(node.op)), x_(node.input(0)) {
    const Attributes& attributes = node.attributes;
    switch (entry_.function) {
      case ef::Unary::clip:
        alpha_ = read_number(attributes, "min", -HUGE_VAL);
        beta_ = read_number(attributes, "max", HUGE_VAL);
        break;
      case ef::Unary::elu:
        alpha_ = read_number(attributes, "alpha", 1.0);
        break;
      case ef::Unary::leaky_relu:
        alpha_ = read_number(attributes, "alpha", 0.01);
        break;
      case ef::Unary::hard_sigmoid:
        alpha_ = read_number(attributes, "alpha", 0.2);
        beta_ = read_number(attributes, "beta", 0.5);
        break;
      case ef::Unary::pow:
        alpha_ = read_number(attributes, "exponent", attributes.get_float("exponent"));
        break;
      default:
        break;
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override { return {inputs[0]}; }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const int64_t elements = inputs[0].elements();
    if (elements == 0) return make_empty_plan();
    return make_kernel_plan(
        kernel_, [this, elements](const void* const* in, void* const* out, RunContext& context) {
          const float* x = x_.as<float>(in[0]);
          float* y = static_cast<float*>(out[0]);
          context.pool.parallel_for(elements, grain_for(entry_.nanoseconds),
                                    [&](int64_t begin, int64_t end, int) {
                                      ef::UnaryArgs args;
                                      args.function = entry_.function;
                                      args.alpha = alpha_;
                                      args.beta = beta_;
                                      args.x = x + begin;
                                      args.y = y + begin;
                                      args.n = end - begin;
                                      kernel_.unary(args);
                                    });
        });
  }

  bool can_overwrite(size_t input) const override { return input == 0 && !x_.is_constant(); }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  const ef::Kernel& kernel_;
  const UnaryEntry& entry_;
  Operand x_;
  float alpha_ = 0.0f, beta_ = 0.0f;
};

// y = x < 0 ? slope * x : x; the slope broadcasts to x, never the other way.
class PreluOp final : public Op {
 public:
  PreluOp(const NodeInfo& node, const OpContext& context)
      : kernel_(ef::select(context.isa)), x_(node.input(0)), slope_(node.input(1)) {
    expect_dtype(node.input(1), DType::f32);
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    if (broadcast_shape(inputs[0], inputs[1]) != inputs[0]) {
      throw Error(ErrorCode::invalid_argument, "the slope's shape " + inputs[1].to_string() +
                                                   " does not broadcast to the input's " +
                                                   inputs[0].to_string());
    }
    return {inputs[0]};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    return make_kernel_plan(
        kernel_, [this, broadcast = Broadcast(inputs[0], inputs[1])](
                     const void* const* in, void* const* out, RunContext& context) {
          broadcast.run(
              x_.as<float>(in[0]), slope_.as<float>(in[1]), static_cast<float*>(out[0]),
              context.pool, 0.3,
              [this](const float* x, int, const float* slope, int slope_step, float* y, int64_t n) {
                ef::PreluArgs args;
                args.x = x;
                args.slope = slope;
                args.slope_step = slope_step;
                args.y = y;
                args.n = n;
                kernel_.prelu(args);
              });
        });
  }

  bool can_overwrite(size_t input) const override { return input == 0 && !x_.is_constant(); }
  size_t packed_bytes() const override { return x_.bytes() + slope_.bytes(); }

 private:
  const ef::Kernel& kernel_;
  Operand x_, slope_;
};

}  // namespace

std::unique_ptr<Op> make_unary(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  expect_float_only(node);
  expect_dtype(node.output(), DType::f32);
  return std::make_unique<UnaryOp>(node, context);
}

std::unique_ptr<Op> make_prelu(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 2);
  expect_outputs(node, 1);
  expect_float_only(node);
  expect_dtype(node.output(), DType::f32);
  return std::make_unique<PreluOp>(node, context);
}

}  // namespace zeropoint
