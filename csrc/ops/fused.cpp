#include "ops/fused.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "ops/checks.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

class FusedOp final : public Op {
 public:
  FusedOp(const NodeInfo& node, const OpContext& context)
      : layer_(make_op(node.parts.at(0), context)),
        add_(make_op(node.parts.at(1), context)),
        other_first_(node.parts[1].inputs.at(0) == node.inputs.back()) {
    fused_.input = node.inputs.size() - 1;
    fused_.residual =
        residual_arithmetic(node.parts[0].output(), *node.inputs.back(), node.parts[1]).residual;
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return add_->infer(add_inputs(layer_->infer(layer_inputs(inputs))[0], inputs.back()));
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const std::vector<Shape> own = layer_inputs(inputs);
    const std::vector<Shape> sums = layer_->infer(own);
    if (sums[0] == inputs.back() && sums[0] == outputs[0]) {
      if (auto plan = layer_->plan_with_add(own, sums, fused_)) return plan;
    }
    return plan_in_turn(own, sums, inputs.back(), outputs);
  }

  bool can_overwrite(size_t input) const override { return input == fused_.input; }
  size_t packed_bytes() const override { return layer_->packed_bytes() + add_->packed_bytes(); }

 private:
  static std::vector<Shape> layer_inputs(const std::vector<Shape>& inputs) {
    return {inputs.begin(), inputs.end() - 1};
  }
  template <typename V>
  std::vector<V> add_inputs(const V& sum, const V& other) const {
    return other_first_ ? std::vector<V>{other, sum} : std::vector<V>{sum, other};
  }

  // Where free dimensions turn out to differ, so that one side is broadcast: one after the other.
  std::unique_ptr<Plan> plan_in_turn(const std::vector<Shape>& own, const std::vector<Shape>& sums,
                                     const Shape& other, const std::vector<Shape>& outputs) const {
    std::shared_ptr<Plan> layer = layer_->plan(own, sums);
    std::shared_ptr<Plan> add = add_->plan(add_inputs(sums[0], other), outputs);
    const size_t sum_bytes =
        round_up<size_t>(static_cast<size_t>(sums[0].elements()) + kOverreadBytes, 64);
    auto plan = make_plan(
        [this, layer, add, sum_bytes](const void* const* inputs, void* const* results,
                                      RunContext& context) {
          void* sum = context.scratch;
          RunContext inner{context.pool, static_cast<char*>(context.scratch) + sum_bytes};
          layer->run(inputs, &sum, inner);
          const auto operands = add_inputs<const void*>(sum, inputs[fused_.input]);
          add->run(operands.data(), results, inner);
        },
        sum_bytes + std::max(layer->scratch_bytes, add->scratch_bytes));
    plan->macs = layer->macs;
    plan->kernel = layer->kernel;
    plan->isa = layer->isa;
    return plan;
  }

  std::unique_ptr<Op> layer_, add_;
  bool other_first_;
  FusedAdd fused_;
};

}  // namespace

ResidualArithmetic residual_arithmetic(const ValueInfo& output, const ValueInfo& other,
                                       const NodeInfo& add) {
  ResidualArithmetic result;
  const float scale = add.output().quant.scale;
  Residual& residual = result.residual;
  residual.multiplier_c = output.quant.scale / scale;
  residual.multiplier = other.quant.scale / scale;
  residual.zero_point = other.quant.zero_point;
  residual.clamp = fused_clamp(add);
  const auto small = [](float m) { return std::fabs(m) < Residual::kMaxMultiplier; };
  result.representable = output.quantized && other.quantized && add.output().quantized &&
                         small(residual.multiplier_c) && small(residual.multiplier);
  return result;
}

std::unique_ptr<Op> make_fused(const NodeInfo& node, const OpContext& context) {
  if (node.parts.at(0).op == "quantize") return make_quantize_image(node, context);
  return std::make_unique<FusedOp>(node, context);
}

}  // namespace zeropoint
