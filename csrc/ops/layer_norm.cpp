// layer_norm over the last axes, float32; scale and bias are activations or constants.
#include <cmath>
#include <memory>
#include <optional>

#include "kernels/layer_norm_f32/layer_norm_f32.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

class LayerNorm final : public Op {
 public:
  LayerNorm(const NodeInfo& node, const OpContext& context)
      : kernel_(layer_norm_f32::select(context.isa)),
        x_(node.input(0)),
        scale_(node.input(1)),
        axis_(node.attributes.get_int("axis", -1)) {
    expect_dtype(node.input(1), DType::f32);
    if (const ValueInfo* bias = node.optional_input(2)) {
      expect_dtype(*bias, DType::f32);
      bias_.emplace(*bias);
    }
    const double epsilon = node.attributes.get_float("epsilon", 1e-5);
    if (!(epsilon >= 0.0) || !std::isfinite(epsilon)) {
      throw Error(ErrorCode::invalid_model, "epsilon is " + std::to_string(epsilon) +
                                                ", expected a finite number of at least 0");
    }
    epsilon_ = static_cast<float>(epsilon);
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    const int axis = checked_axis(axis_, x.rank());
    Shape row;
    for (int i = axis; i < x.rank(); ++i) row.push_back(x[i]);
    for (size_t i = 1; i <= (bias_ ? 2u : 1u); ++i) {
      if (inputs[i] != row) {
        throw Error(ErrorCode::invalid_argument,
                    std::string(i == 1 ? "the scale" : "the bias") + " has the shape " +
                        inputs[i].to_string() + ", expected " + row.to_string() +
                        ", the normalized axes of the input " + x.to_string());
      }
    }
    return {x};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const Shape& x = inputs[0];
    const int axis = checked_axis(axis_, x.rank());
    const int64_t rows = x.elements(0, axis), n = x.elements(axis, x.rank());
    if (rows * n == 0) return make_empty_plan();
    return make_kernel_plan(
        kernel_, [this, rows, n](const void* const* in, void* const* out, RunContext& context) {
          layer_norm_f32::RunArgs row;
          row.scale = scale_.as<float>(in[1]);
          row.bias = bias_ ? bias_->as<float>(in[2]) : nullptr;
          row.n = n;
          row.epsilon = epsilon_;
          const float* from = x_.as<float>(in[0]);
          auto* to = static_cast<float*>(out[0]);
          context.pool.parallel_for(rows, grain_for(20.0 + 0.5 * static_cast<double>(n)),
                                    [&](int64_t begin, int64_t end, int) {
                                      layer_norm_f32::RunArgs args = row;
                                      for (int64_t r = begin; r < end; ++r) {
                                        args.x = from + r * n;
                                        args.y = to + r * n;
                                        kernel_.run(args);
                                      }
                                    });
        });
  }

  bool can_overwrite(size_t input) const override { return input == 0 && !x_.is_constant(); }
  size_t packed_bytes() const override {
    return x_.bytes() + scale_.bytes() + (bias_ ? bias_->bytes() : 0);
  }

 private:
  const layer_norm_f32::Kernel& kernel_;
  Operand x_, scale_;
  std::optional<Operand> bias_;
  int64_t axis_;
  float epsilon_ = 1e-5f;
};

}  // namespace

std::unique_ptr<Op> make_layer_norm(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 3);
  expect_outputs(node, 1);
  expect_float_only(node);
  expect_dtype(node.output(), DType::f32);
  return std::make_unique<LayerNorm>(node, context);
}

}  // namespace zeropoint
