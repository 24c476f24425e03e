// dynamic_quantize (ONNX DynamicQuantizeLinear), and dynamic_linear: the same, an exact integer
// product with constant weights, and back to float32.
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/elementwise_s8/elementwise_s8.h"
#include "ops/checks.h"
#include "ops/dynamic_range.h"
#include "ops/factories.h"
#include "ops/integer_product.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/quantized_weights.h"
#include "ops/weight_store.h"

namespace zeropoint {
namespace {

namespace es = elementwise_s8;

void quantize_run(const es::Kernel& kernel, const QuantParams& params, const float* x, act_t* y,
                  int64_t n) {
  es::QuantizeArgs args;
  args.x = x;
  args.y = y;
  args.n = n;
  args.scale = params.scale;
  args.clamp.zero_point = params.zero_point;
  kernel.quantize(args);
}

class DynamicQuantize final : public Op {
 public:
  DynamicQuantize(const NodeInfo& node, const OpContext& context)
      : kernel_(es::select(context.isa)),
        finder_(accumulator_s32::select(context.isa)),
        x_(node.input(0)) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return {inputs[0], Shape{}, Shape{}};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const int64_t n = inputs[0].elements();
    return make_kernel_plan(
        kernel_, [this, n](const void* const* in, void* const* out, RunContext& context) {
          const float* x = x_.as<float>(in[0]);
          const QuantParams params = find_params(x, n, finder_, context.pool);
          auto* y = static_cast<act_t*>(out[0]);
          context.pool.parallel_for(n, grain_for(0.2), [&](int64_t begin, int64_t end, int) {
            quantize_run(kernel_, params, x + begin, y + begin, end - begin);
          });
          *static_cast<float*>(out[1]) = params.scale;
          *static_cast<act_t*>(out[2]) = static_cast<act_t>(params.zero_point);
        });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  const es::Kernel& kernel_;
  const accumulator_s32::Kernel& finder_;
  Operand x_;
};

class DynamicLinear final : public Op {
 public:
  DynamicLinear(const NodeInfo& node, const OpContext& context)
      : threads_(context.threads),
        kernel_(es::select(context.isa)),
        x_(node.input(0)),
        product_(checked_weights(node.input(1))[0], node.input(1).shape[1], context.isa),
        packed_(context, product_.kernel_name(), product_.packed_bytes(), [&](void* packed) {
          product_.pack(node.input(1).constant->as<int8_t>(), false, packed);
        }) {
    const ValueInfo& w = node.input(1);
    const Constant& constant = *w.constant;
    const auto n = static_cast<size_t>(product_.n());
    const bool per_channel = constant.axis >= 0;
    if (constant.scales.size() != constant.zero_points.size() || constant.scales.empty() ||
        (per_channel ? constant.axis != 0 || constant.scales.size() != n
                     : constant.scales.size() != 1)) {
      throw Error(ErrorCode::invalid_model,
                  "weights '" + w.name +
                      "' need one scale and zero point, or one for each output channel (axis 0)");
    }
    for (size_t c = 0; c < n; ++c) {
      scales_.push_back(constant.scales[per_channel ? c : 0]);
      zero_points_.push_back(constant.zero_points[per_channel ? c : 0]);
      if (zero_points_.back() != 0) asymmetric_ = true;
    }
    if (node.optional_input(2) != nullptr) {
      bias_ = read_float_bias(node.optional_input(2), product_.n());
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs.at(0);
    if (x.rank() < 1 || x.back() != product_.k()) {
      throw Error(ErrorCode::invalid_argument, "input must have " + std::to_string(product_.k()) +
                                                   " elements along its last axis, found " +
                                                   x.to_string());
    }
    Shape y = x;
    y[y.rank() - 1] = product_.n();
    y.elements();
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const Shape& x = inputs[0];
    const int64_t rows = x.elements(0, x.rank() - 1);
    if (rows == 0) return make_empty_plan();
    const auto quantized_bytes =
        round_up<size_t>(static_cast<size_t>(x.elements()) + kOverreadBytes, 64);
    auto plan = make_plan(
        [this, rows, quantized_bytes](const void* const* in, void* const* out,
                                      RunContext& context) {
          run(x_.as<float>(in[0]), static_cast<float*>(out[0]), rows, quantized_bytes, context);
        },
        quantized_bytes + product_.scratch_bytes() * static_cast<size_t>(threads_));
    plan->macs = checked_mul(rows, int64_t{product_.k()} * product_.n(), "a layer's work");
    plan->kernel = product_.kernel_name();
    plan->isa = product_.kernel_isa();
    return plan;
  }

  size_t packed_bytes() const override { return packed_.size() + x_.bytes(); }

 private:
  static const Shape& checked_weights(const ValueInfo& w) {
    if (!w.is_constant() || w.dtype != DType::s8 || w.shape.rank() != 2) {
      throw Error(ErrorCode::invalid_model,
                  "weights '" + w.name + "' must be an int8 constant [N, K]");
    }
    return w.shape;
  }

  void run(const float* x, float* y, int64_t rows, size_t quantized_bytes,
           RunContext& context) const {
    const int k = product_.k(), n = product_.n();
    const QuantParams params = find_params(x, rows * k, product_.finisher(), context.pool);
    auto* quantized = static_cast<act_t*>(context.scratch);
    char* parts = static_cast<char*>(context.scratch) + quantized_bytes;
    context.pool.parallel_for(
        product_.row_blocks(rows), product_.row_block_grain(),
        [&](int64_t begin, int64_t end, int part) {
          const int64_t first = begin * IntegerProduct::kRowBlock;
          const int64_t last = std::min(rows, end * IntegerProduct::kRowBlock);
          quantize_run(kernel_, params, x + first * k, quantized + first * k, (last - first) * k);
          accumulator_s32::DequantizeArgs args;
          args.acc.zero_a = params.zero_point;
          args.acc.column_sums = product_.column_sums(packed_.data());
          args.acc.zero_b = asymmetric_ ? zero_points_.data() : nullptr;
          args.acc.n = n;
          args.scale_a = params.scale;
          args.scale_b = scales_.data();
          args.bias = bias_.empty() ? nullptr : bias_.data();
          product_.run_rows(quantized, packed_.data(), asymmetric_, first, last,
                            parts + static_cast<size_t>(part) * product_.scratch_bytes(),
                            [&](int64_t m, const int32_t* raw, int32_t row_sum) {
                              args.acc.raw = raw;
                              args.acc.row = row_sum - k * params.zero_point;
                              args.y = y + m * n;
                              product_.finisher().dequantize(args);
                            });
        });
  }

  int threads_;
  const es::Kernel& kernel_;
  Operand x_;
  IntegerProduct product_;
  PackedWeights packed_;
  std::vector<float> scales_, bias_;
  std::vector<int32_t> zero_points_;
  bool asymmetric_ = false;
};

}  // namespace

std::unique_ptr<Op> make_dynamic_quantize(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 3);
  expect_dtype(node.input(0), DType::f32);
  expect_dtype(node.output(0), DType::s8);
  expect_dtype(node.output(1), DType::f32);
  expect_dtype(node.output(2), DType::s8);
  return std::make_unique<DynamicQuantize>(node, context);
}

std::unique_ptr<Op> make_dynamic_linear(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 3);
  expect_outputs(node, 1);
  expect_dtype(node.input(0), DType::f32);
  expect_dtype(node.output(), DType::f32);
  return std::make_unique<DynamicLinear>(node, context);
}

}  // namespace zeropoint
