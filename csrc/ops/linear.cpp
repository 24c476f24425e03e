// linear: y[..., N] = x[..., K] w[N, K]^T + bias, a GEMM over all leading axes at once.

#include <algorithm>
#include <memory>

#include "ops/factories.h"
#include "ops/fused.h"
#include "ops/layer_weights.h"
#include "ops/operand.h"
#include "ops/window.h"

namespace zeropoint {
namespace {

// T is the activation type; Y that of the output: T, or int32_t for raw accumulators.
template <typename T, typename Y = T>
class Linear final : public Op {
 public:
  Linear(const NodeInfo& node, const OpContext& context)
      : Linear(node, read_layer_weights<T>(node), context) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs.at(0);
    if (x.rank() < 1 || x.back() != depth_) {
      throw Error(ErrorCode::invalid_argument, "input must have " + std::to_string(depth_) +
                                                   " elements along its last axis, found " +
                                                   x.to_string());
    }
    Shape y = x;
    y[y.rank() - 1] = gemm_.n();
    y.elements();
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    return std::make_unique<LinearPlan>(*this, inputs[0]);
  }

  std::unique_ptr<Plan> plan_with_add(const std::vector<Shape>& inputs, const std::vector<Shape>&,
                                      const FusedAdd& add) const override {
    return std::make_unique<LinearPlan>(*this, inputs[0], add);
  }

  size_t packed_bytes() const override { return x_.bytes() + gemm_.packed_bytes(); }

 private:
  Linear(const NodeInfo& node, const LayerWeights<T>& weights, const OpContext& context)
      : x_(node.input(0)),
        threads_(context.threads),
        depth_(weights.depth),
        repeat_(weights.repeat),
        gemm_(weights.pack({weights.n, weights.taps, weights.depth, known_rows(node)}, 0, context,
                           [&] { return weights.values.data(); })) {
    if (node.input(1).shape.rank() != 2) {
      throw Error(ErrorCode::invalid_model,
                  "weights must be [N, K], found " + node.input(1).shape.to_string());
    }
  }

  // 0: not known before a run.
  static int64_t known_rows(const NodeInfo& node) {
    const Shape& x = node.input(0).shape;
    int64_t rows = x.rank() > 0 ? 1 : 0;
    for (int i = 0; i + 1 < x.rank(); ++i) {
      // Large counts are all the same to kernels, and products of them might overflow.
      rows = x[i] < 0 ? 0 : std::min<int64_t>(rows * std::min<int64_t>(x[i], 1 << 20), 1 << 20);
      if (rows == 0) break;
    }
    return rows;
  }

  class LinearPlan final : public Plan {
   public:
    LinearPlan(const Linear& op, const Shape& x, const FusedAdd& add = {})
        : op_(op), add_(add), rows_(x.elements(0, x.rank() - 1)) {
      if (op.repeat_ > 1) {
        check_offset_range(x.elements());
        check_offset_count(rows_, op.repeat_);
        for (int64_t m = 0; m < rows_; ++m) {
          offsets_.insert(offsets_.end(), static_cast<size_t>(op.repeat_),
                          static_cast<int32_t>(m * op.depth_));
        }
      }
      macs = rows_ * op.depth_ * op.gemm_.n();  // input, weights and output fit 2^40 bytes each
      scratch_bytes = op.gemm_.scratch_bytes() * static_cast<size_t>(op.threads_);
      kernel = op.gemm_.kernel_name();
      isa = op.gemm_.kernel_isa();
    }

    void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
      Rows<T> rows;
      rows.base = op_.x_.template as<T>(inputs[0]);
      rows.stride = op_.depth_;
      rows.offsets = offsets_.empty() ? nullptr : offsets_.data();
      rows.taps = op_.repeat_;
      rows.depth = op_.depth_;
      if constexpr (std::is_same_v<Y, act_t>) {
        if (add_.input != 0) {
          Residual residual = add_.residual;
          residual.data = static_cast<const act_t*>(inputs[add_.input]);
          residual.stride = op_.gemm_.n();
          run_parallel(op_.gemm_, rows, static_cast<Y*>(outputs[0]), op_.gemm_.n(), rows_,
                       context.pool, context.scratch, residual);
          return;
        }
      }
      run_parallel(op_.gemm_, rows, static_cast<Y*>(outputs[0]), op_.gemm_.n(), rows_, context.pool,
                   context.scratch);
    }

   private:
    const Linear& op_;
    FusedAdd add_;
    int64_t rows_;
    std::vector<int32_t> offsets_;
  };

  Operand x_;
  int threads_;
  int depth_, repeat_;
  PackedGemm<T> gemm_;
};

}  // namespace

std::unique_ptr<Op> make_linear(const NodeInfo& node, const OpContext& context) {
  return make_by_precision(node, [&](auto element) -> std::unique_ptr<Op> {
    using T = decltype(element);
    if constexpr (!std::is_same_v<T, float>) {
      if (node.output().dtype == DType::s32) {
        return std::make_unique<Linear<T, int32_t>>(node, context);
      }
    }
    return std::make_unique<Linear<T>>(node, context);
  });
}

}  // namespace zeropoint
