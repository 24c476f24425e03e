// quantize (float32 -> int8, ONNX QuantizeLinear) and dequantize (int8 -> float32).
#include <memory>

#include "kernels/elementwise_s8/elementwise_s8.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

namespace es = elementwise_s8;

class QuantizeOp final : public Op {
 public:
  QuantizeOp(const NodeInfo& node, const OpContext& context)
      : kernel_(es::select(context.isa)), x_(node.input(0)) {
    args_.scale = quant_of(node.output()).scale;
    args_.clamp = full_clamp(node.output());
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override { return {inputs[0]}; }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const int64_t elements = inputs[0].elements();
    if (elements == 0) return make_empty_plan();
    return make_kernel_plan(
        kernel_, [this, elements](const void* const* in, void* const* out, RunContext& context) {
          const float* x = x_.as<float>(in[0]);
          act_t* y = static_cast<act_t*>(out[0]);
          context.pool.parallel_for(elements, grain_for(0.2), [&](int64_t begin, int64_t end, int) {
            es::QuantizeArgs args = args_;
            args.x = x + begin;
            args.y = y + begin;
            args.n = end - begin;
            kernel_.quantize(args);
          });
        });
  }
  bool reads_exactly(size_t) const override { return true; }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  const es::Kernel& kernel_;
  Operand x_;
  es::QuantizeArgs args_;
};

class DequantizeOp final : public Op {
 public:
  DequantizeOp(const NodeInfo& node, const OpContext& context)
      : kernel_(es::select(context.isa)), x_(node.input(0)), params_(quant_of(node.input(0))) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override { return {inputs[0]}; }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const int64_t elements = inputs[0].elements();
    if (elements == 0) return make_empty_plan();
    return make_kernel_plan(
        kernel_, [this, elements](const void* const* in, void* const* out, RunContext& context) {
          const act_t* x = x_.as<act_t>(in[0]);
          float* y = static_cast<float*>(out[0]);
          context.pool.parallel_for(elements, grain_for(0.2), [&](int64_t begin, int64_t end, int) {
            es::DequantizeArgs args;
            args.params = params_;
            args.x = x + begin;
            args.y = y + begin;
            args.n = end - begin;
            kernel_.dequantize(args);
          });
        });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  const es::Kernel& kernel_;
  Operand x_;
  QuantParams params_;
};

}  // namespace

std::unique_ptr<Op> make_quantize(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  expect_dtype(node.input(0), DType::f32);
  expect_dtype(node.output(), DType::s8);
  return std::make_unique<QuantizeOp>(node, context);
}

std::unique_ptr<Op> make_dequantize(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  expect_dtype(node.input(0), DType::s8);
  expect_dtype(node.output(), DType::f32);
  return std::make_unique<DequantizeOp>(node, context);
}

}  // namespace zeropoint
