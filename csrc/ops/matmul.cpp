// matmul of two float32 activations, NumPy's rules for leading axes. The right side is packed anew
// in each run; a constant right side is a linear. The int8 forms are in matmul_integer.cpp.

#include <algorithm>
#include <limits>
#include <memory>

#include "kernels/gemm_f32/gemm_f32.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/matmul_shape.h"

namespace zeropoint {
namespace {

class MatMul final : public Op {
 public:
  MatMul(const NodeInfo& node, const OpContext& context) : isa_(context.isa) {
    for (size_t i = 0; i < 2; ++i) expect_dtype(node.input(i), DType::f32);
    expect_dtype(node.output(), DType::f32);
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return {matmul_shape(inputs.at(0), inputs.at(1))};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    return std::make_unique<MatMulPlan>(inputs[0], inputs[1], outputs[0], isa_);
  }

 private:
  class MatMulPlan final : public Plan {
   public:
    MatMulPlan(const Shape& a, const Shape& b, const Shape& y, IsaMask mask) : batches_(a, b, y) {
      const int rank = y.rank();
      m_ = y[rank - 2];
      n_ = narrow(y[rank - 1]);
      k_ = narrow(a.back());
      kernel_ = &gemm_f32::select({m_, n_, 1, k_}, mask);
      scratch_bytes = kernel_->packed_bytes(n_, 1, k_);
      macs = checked_mul(y.elements(), k_, "a layer's work");
      kernel = kernel_->name;
      isa = kernel_->isa;
    }

    void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
      const int64_t grain = std::max<int64_t>(
          1, (int64_t{1} << 20) / std::max<int64_t>(1, int64_t{n_} * k_ * kernel_->mr));
      const float* packed_from = nullptr;
      for (int64_t batch = 0; batch < batches_.count(); ++batch) {
        const auto [ia, ib] = batches_.at(batch);
        const float* b = static_cast<const float*>(inputs[1]) + ib * k_ * n_;
        if (b != packed_from) {
          gemm_f32::PackArgs pack;
          pack.weights = b;
          pack.n_stride = 1;
          pack.k_stride = n_;
          pack.n = n_;
          pack.depth = k_;
          kernel_->pack(pack, context.scratch);
          packed_from = b;
        }
        gemm_f32::RunArgs args;
        args.a.base = static_cast<const float*>(inputs[0]) + ia * m_ * k_;
        args.a.stride = k_;
        args.a.depth = k_;
        args.packed = context.scratch;
        args.n = n_;
        args.c = static_cast<float*>(outputs[0]) + batch * m_ * n_;
        args.c_stride = n_;
        args.lo = -std::numeric_limits<float>::infinity();
        args.hi = std::numeric_limits<float>::infinity();
        args.n_end = n_;
        context.pool.parallel_for(ceil_div<int64_t>(m_, kernel_->mr), grain,
                                  [&](int64_t begin, int64_t end, int) {
                                    gemm_f32::RunArgs part = args;
                                    part.m_begin = begin * kernel_->mr;
                                    part.m_end = std::min(m_, end * kernel_->mr);
                                    kernel_->run(part);
                                  });
      }
    }

   private:
    static int narrow(int64_t size) {
      if (size < 1 || size > std::numeric_limits<int32_t>::max() / 4) {
        throw Error(ErrorCode::unsupported,
                    "a matrix side of " + std::to_string(size) + " cannot be multiplied");
      }
      return static_cast<int>(size);
    }

    MatMulBatches batches_;
    int64_t m_ = 0;
    int n_ = 0, k_ = 0;
    const gemm_f32::Kernel* kernel_ = nullptr;
  };

  IsaMask isa_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 2);
  expect_outputs(node, 1);
  if (expect_float_or_int8(node)) return make_matmul_int8(node, context);
  return std::make_unique<MatMul>(node, context);
}

}  // namespace zeropoint
