// add, sub, mul, div, max, min: NumPy broadcasting, either side may be a constant.
//
// float32: one rounded operation an element, then the fused clip. int8: the arithmetic of
// quant/requantize.h; div, max and min have no int8 form.
#include <memory>
#include <utility>

#include "kernels/elementwise_f32/elementwise_f32.h"
#include "kernels/elementwise_s8/elementwise_s8.h"
#include "ops/broadcast.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

namespace ef = elementwise_f32;
namespace es = elementwise_s8;

class BinaryOp : public Op {
 public:
  explicit BinaryOp(const NodeInfo& node) : a_(node.input(0)), b_(node.input(1)) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return {broadcast_shape(inputs[0], inputs[1])};
  }
  bool can_overwrite(size_t input) const override {
    return input == 0 ? !a_.is_constant() : input == 1 && !b_.is_constant();
  }
  size_t packed_bytes() const override { return a_.bytes() + b_.bytes(); }

 protected:
  Operand a_, b_;
};

class BinaryF32 final : public BinaryOp {
 public:
  BinaryF32(const NodeInfo& node, const OpContext& context, ef::Binary function)
      : BinaryOp(node),
        kernel_(ef::select(context.isa)),
        function_(function),
        clip_(fused_clip(node.attributes)) {
    expect_dtype(node.input(1), DType::f32);
    expect_dtype(node.output(), DType::f32);
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    return make_kernel_plan(kernel_, [this, broadcast = Broadcast(inputs[0], inputs[1])](
                                         const void* const* in, void* const* out,
                                         RunContext& context) {
      broadcast.run(
          a_.as<float>(in[0]), b_.as<float>(in[1]), static_cast<float*>(out[0]), context.pool, 0.3,
          [this](const float* a, int a_step, const float* b, int b_step, float* y, int64_t n) {
            ef::BinaryArgs args;
            args.a = a;
            args.b = b;
            args.a_step = a_step;
            args.b_step = b_step;
            args.y = y;
            args.n = n;
            args.lo = clip_.lo;
            args.hi = clip_.hi;
            kernel_.binary(function_, args);
          });
    });
  }

 private:
  const ef::Kernel& kernel_;
  ef::Binary function_;
  FloatClip clip_;
};

class BinaryS8 final : public BinaryOp {
 public:
  BinaryS8(const NodeInfo& node, const OpContext& context, ef::Binary function)
      : BinaryOp(node), kernel_(es::select(context.isa)) {
    const QuantParams a = quant_of(node.input(0));
    const QuantParams b = quant_of(node.input(1));
    const QuantParams y = quant_of(node.output());
    args_.clamp = fused_clamp(node);
    args_.zero_a = a.zero_point;
    args_.zero_b = b.zero_point;
    if (function == ef::Binary::mul) {
      run_ = kernel_.mul;
      args_.multiplier_a = checked_multiplier(requantize_multiplier(a.scale, b.scale, y.scale));
    } else {
      run_ = kernel_.add;
      args_.multiplier_a = checked_multiplier(a.scale / y.scale);
      args_.multiplier_b = checked_multiplier(b.scale / y.scale);
      if (function == ef::Binary::sub) args_.multiplier_b = -args_.multiplier_b;
    }
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    return make_kernel_plan(kernel_, [this, broadcast = Broadcast(inputs[0], inputs[1])](
                                         const void* const* in, void* const* out,
                                         RunContext& context) {
      broadcast.run(
          a_.as<act_t>(in[0]), b_.as<act_t>(in[1]), static_cast<act_t*>(out[0]), context.pool, 0.1,
          [this](const act_t* a, int a_step, const act_t* b, int b_step, act_t* y, int64_t n) {
            es::BinaryArgs args = args_;
            args.a = a;
            args.b = b;
            args.a_step = a_step;
            args.b_step = b_step;
            args.y = y;
            args.n = n;
            run_(args);
          });
    });
  }

 private:
  const es::Kernel& kernel_;
  void (*run_)(const es::BinaryArgs&) = nullptr;
  es::BinaryArgs args_;
};

std::unique_ptr<Op> make_binary(const NodeInfo& node, const OpContext& context,
                                ef::Binary function) {
  expect_inputs(node, 2, 2);
  expect_outputs(node, 1);
  if (function >= ef::Binary::div) expect_float_only(node);
  if (expect_float_or_int8(node)) return std::make_unique<BinaryS8>(node, context, function);
  return std::make_unique<BinaryF32>(node, context, function);
}

}  // namespace

std::unique_ptr<Op> make_add(const NodeInfo& node, const OpContext& context) {
  return make_binary(node, context, ef::Binary::add);
}
std::unique_ptr<Op> make_sub(const NodeInfo& node, const OpContext& context) {
  return make_binary(node, context, ef::Binary::sub);
}
std::unique_ptr<Op> make_mul(const NodeInfo& node, const OpContext& context) {
  return make_binary(node, context, ef::Binary::mul);
}
std::unique_ptr<Op> make_max(const NodeInfo& node, const OpContext& context) {
  return make_binary(node, context, ef::Binary::max);
}
std::unique_ptr<Op> make_min(const NodeInfo& node, const OpContext& context) {
  return make_binary(node, context, ef::Binary::min);
}
std::unique_ptr<Op> make_div(const NodeInfo& node, const OpContext& context) {
  return make_binary(node, context, ef::Binary::div);
}

}  // namespace zeropoint
