// matmul of two float32 activations, NumPy's rules for leading axes. The right side is packed anew
// in each run; a constant right side is a linear.

#include <algorithm>
#include <limits>
#include <memory>

#include "kernels/gemm_f32/gemm_f32.h"
#include "ops/factories.h"

namespace zeropoint {
namespace {

class MatMul final : public Op {
 public:
  MatMul(const NodeInfo& node, const OpContext& context) : isa_(context.isa) {
    for (size_t i = 0; i < 2; ++i) {
      if (node.input(i).dtype != DType::f32) {
        throw Error(ErrorCode::unsupported, "input '" + node.input(i).name + "' is " +
                                                dtype_name(node.input(i).dtype) +
                                                "; matmul of two activations runs in float32 only");
      }
    }
    if (node.output().dtype != DType::f32) {
      throw Error(ErrorCode::invalid_model, "output '" + node.output().name + "' must be float32");
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape &a = inputs.at(0), &b = inputs.at(1);
    if (a.rank() < 2 || b.rank() < 2 || a.back() != b[b.rank() - 2]) {
      throw Error(ErrorCode::invalid_argument, "cannot multiply " + a.to_string() + " by " +
                                                   b.to_string() +
                                                   "; expected [..., M, K] by [..., K, N]");
    }
    Shape y;
    const int rank = std::max(a.rank(), b.rank());
    for (int i = 0; i < rank - 2; ++i) {
      const int64_t da = leading(a, rank, i), db = leading(b, rank, i);
      if (da != db && da != 1 && db != 1) {
        throw Error(ErrorCode::invalid_argument, "the leading axes of " + a.to_string() + " and " +
                                                     b.to_string() + " do not broadcast");
      }
      y.push_back(da == 1 ? db : da);
    }
    y.push_back(a[a.rank() - 2]);
    y.push_back(b.back());
    y.elements();
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    return std::make_unique<MatMulPlan>(inputs[0], inputs[1], outputs[0], isa_);
  }

 private:
  static int64_t leading(const Shape& s, int rank, int i) {
    const int own = i - (rank - s.rank());
    return own < 0 ? 1 : s[own];
  }

  class MatMulPlan final : public Plan {
   public:
    MatMulPlan(const Shape& a, const Shape& b, const Shape& y, IsaMask mask) {
      const int rank = y.rank();
      m_ = y[rank - 2];
      n_ = narrow(y[rank - 1]);
      k_ = narrow(a.back());
      batches_ = y.elements(0, rank - 2);
      for (int i = rank - 3; i >= 0; --i)
        axes_.push_back({y[i], leading(a, rank, i), leading(b, rank, i)});
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
      for (int64_t batch = 0; batch < batches_; ++batch) {
        int64_t index = batch, ia = 0, ib = 0, stride_a = 1, stride_b = 1;
        for (const Axis& axis : axes_) {
          const int64_t i = index % axis.y;
          index /= axis.y;
          if (axis.a != 1) ia += i * stride_a;
          if (axis.b != 1) ib += i * stride_b;
          stride_a *= axis.a;
          stride_b *= axis.b;
        }
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
    struct Axis {
      int64_t y, a, b;
    };

    static int narrow(int64_t size) {
      if (size < 1 || size > std::numeric_limits<int32_t>::max() / 4) {
        throw Error(ErrorCode::unsupported,
                    "a matrix side of " + std::to_string(size) + " cannot be multiplied");
      }
      return static_cast<int>(size);
    }

    int64_t m_ = 0, batches_ = 0;
    int n_ = 0, k_ = 0;
    std::vector<Axis> axes_;  // leading axes, innermost first
    const gemm_f32::Kernel* kernel_ = nullptr;
  };

  IsaMask isa_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const NodeInfo& node, const OpContext& context) {
  return std::make_unique<MatMul>(node, context);
}

}  // namespace zeropoint
