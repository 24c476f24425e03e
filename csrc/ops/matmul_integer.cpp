// The int8 forms of matmul, and matmul_integer, whose zero points are values of the graph.
//
// The right side is packed anew in each run, unless it is one constant matrix. With several
// matrices, threads take whole ones, packing included; with one they share its rows.
#include <algorithm>
#include <memory>
#include <optional>

#include "base/aligned_buffer.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/integer_product.h"
#include "ops/matmul_shape.h"
#include "ops/operand.h"
#include "ops/packed_gemm.h"
#include "ops/zero_point.h"

namespace zeropoint {
namespace {

// What is known about a matmul before the run.
struct Form {
  bool runtime = false;                     // zero points are inputs 2 and 3
  int32_t zero_a = kActOffset, zero_b = 0;  // stored domain of A, file's domain of B
  bool to_int8 = false;                     // else int32
  float multiplier = 0.0f;
  OutputClamp clamp;

  // gemm_s8 alone does everything.
  bool fused() const { return !runtime && to_int8 && zero_b == 0; }
};

class IntegerMatMul final : public Op {
 public:
  IntegerMatMul(const NodeInfo& node, const OpContext& context, const Form& form)
      : context_(context),
        form_(form),
        a_(node.input(0)),
        b_(node.input(1)),
        zero_a_(form.runtime ? node.optional_input(2) : nullptr),
        zero_b_(form.runtime ? node.optional_input(3) : nullptr) {
    const Shape& b = node.input(1).shape;
    if (!b_.is_constant() || b.rank() < 2 || b.elements(0, b.rank() - 2) != 1) return;
    product_.emplace(b[b.rank() - 1], b[b.rank() - 2], context.isa);
    packed_ = PackedWeights(
        context, product_->kernel_name(), product_->packed_bytes(), [&](void* packed) {
          AlignedBuffer turned(product_->turned_bytes());
          pack(*product_, b_.as<act_t>(nullptr), turned.as<int8_t>(), false, packed);
        });
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape y = matmul_shape(inputs.at(0), inputs.at(1));
    if (inputs.size() > 2) zero_a_.check_shape(inputs[2], y[y.rank() - 2], "the left side");
    if (inputs.size() > 3) zero_b_.check_shape(inputs[3], y.back(), "the right side");
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    return std::make_unique<MatMulPlan>(*this, inputs, outputs[0]);
  }

  size_t packed_bytes() const override {
    return packed_.size() + (product_ ? 0 : b_.bytes()) + a_.bytes();
  }

 private:
  void pack(const IntegerProduct& product, const act_t* b, int8_t* turned, bool once,
            void* packed) const {
    product.turn(b, turned);
    if (form_.fused()) {
      product.pack_fused(turned, form_.zero_a, form_.multiplier, once, packed);
    } else {
      product.pack(turned, once, packed);
    }
  }

  class MatMulPlan final : public Plan {
   public:
    MatMulPlan(const IntegerMatMul& op, const std::vector<Shape>& inputs, const Shape& y)
        : op_(op),
          product_(y.back(), inputs[0].back(), op.context_.isa),
          batches_(inputs[0], inputs[1], y),
          inputs_(inputs.size()),
          m_(y[y.rank() - 2]),
          many_zero_a_(inputs.size() > 2 && inputs[2].elements() > 1),
          many_zero_b_(inputs.size() > 3 && inputs[3].elements() > 1) {
      packed_bytes_ = op.product_ ? 0 : round_up<size_t>(product_.packed_bytes(), 64);
      turned_bytes_ = op.product_ ? 0 : product_.turned_bytes();
      part_bytes_ = packed_bytes_ + turned_bytes_ + product_.scratch_bytes();
      shared_bytes_ = round_up<size_t>(static_cast<size_t>(product_.n()) * sizeof(int32_t), 64);
      scratch_bytes = shared_bytes_ + part_bytes_ * static_cast<size_t>(op.context_.threads);
      macs = checked_mul(y.elements(), product_.k(), "a layer's work");
      kernel = product_.kernel_name();
      isa = product_.kernel_isa();
    }

    void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
      const act_t fixed_a = static_cast<act_t>(op_.form_.zero_a);
      auto* zero_b = static_cast<int32_t*>(context.scratch);
      Run r;
      r.a = op_.a_.as<act_t>(inputs[0]);
      r.b = op_.b_.as<act_t>(inputs[1]);
      r.y = outputs[0];
      r.zero_a = op_.form_.runtime ? op_.zero_a_.stored(input(inputs, 2)) : &fixed_a;
      r.zero_b = zero_b;
      r.has_zero_b = read_zero_b(inputs, zero_b);
      char* parts = static_cast<char*>(context.scratch) + shared_bytes_;
      const int64_t count = batches_.count(), work = m_ * product_.n() * product_.k();
      if (count >= context.pool.size()) {
        const int64_t grain = std::max<int64_t>(1, kMacsPerPart / std::max<int64_t>(1, work));
        context.pool.parallel_for(count, grain, [&](int64_t begin, int64_t end, int part) {
          char* own = parts + static_cast<size_t>(part) * part_bytes_;
          int64_t packed_b = -1;
          for (int64_t batch = begin; batch < end; ++batch) {
            const void* packed = prepare(r, batch, own, &packed_b);
            run_rows(r, batch, packed, 0, m_, own + packed_bytes_ + turned_bytes_);
          }
        });
        return;
      }
      int64_t packed_b = -1;
      for (int64_t batch = 0; batch < count; ++batch) {
        const void* packed = prepare(r, batch, parts, &packed_b);
        context.pool.parallel_for(product_.row_blocks(m_), product_.row_block_grain(),
                                  [&](int64_t begin, int64_t end, int part) {
                                    char* own = parts + static_cast<size_t>(part) * part_bytes_;
                                    run_rows(r, batch, packed, begin * IntegerProduct::kRowBlock,
                                             std::min(m_, end * IntegerProduct::kRowBlock),
                                             own + packed_bytes_ + turned_bytes_);
                                  });
      }
    }

   private:
    struct Run {
      const act_t* a = nullptr;
      const act_t* b = nullptr;
      void* y = nullptr;
      const act_t* zero_a = nullptr;    // one, or one a row
      const int32_t* zero_b = nullptr;  // [n], file's domain
      bool has_zero_b = false;
    };

    const void* input(const void* const* inputs, size_t i) const {
      return i < inputs_ ? inputs[i] : nullptr;
    }

    // Spreads B's zero points over the columns; false where all are 0.
    bool read_zero_b(const void* const* inputs, int32_t* zero_b) const {
      const act_t* stored = op_.zero_b_.stored(input(inputs, 3));
      bool any = false;
      for (int j = 0; j < product_.n(); ++j) {
        zero_b[j] =
            op_.form_.runtime ? stored[many_zero_b_ ? j : 0] - kActOffset : op_.form_.zero_b;
        any = any || zero_b[j] != 0;
      }
      return any;
    }

    // B of a matrix of the output, packed.
    const void* prepare(const Run& r, int64_t batch, char* own, int64_t* packed_b) const {
      if (op_.product_) return op_.packed_.data();
      const int64_t b = batches_.at(batch).b;
      if (b != *packed_b) {
        op_.pack(product_, r.b + b * product_.k() * product_.n(),
                 reinterpret_cast<int8_t*>(own + packed_bytes_), true, own);
        *packed_b = b;
      }
      return own;
    }

    void run_rows(const Run& r, int64_t batch, const void* packed, int64_t begin, int64_t end,
                  void* scratch) const {
      const Form& form = op_.form_;
      const int n = product_.n(), k = product_.k();
      const act_t* a = r.a + batches_.at(batch).a * m_ * k;
      const int64_t first = batch * m_ * n;
      if (form.fused()) {
        product_.run_fused(a, packed, form.clamp, begin, end, static_cast<act_t*>(r.y) + first,
                           scratch);
        return;
      }
      accumulator_s32::RequantizeArgs args;
      args.acc.column_sums = product_.column_sums(packed);
      args.acc.zero_b = r.has_zero_b ? r.zero_b : nullptr;
      args.acc.n = n;
      args.multiplier = form.multiplier;
      args.clamp = form.clamp;
      product_.run_rows(a, packed, r.has_zero_b, begin, end, scratch,
                        [&](int64_t m, const int32_t* raw, int32_t row_sum) {
                          const int32_t zero_a = r.zero_a[many_zero_a_ ? m : 0];
                          args.acc.raw = raw;
                          args.acc.zero_a = zero_a;
                          args.acc.row = row_sum - k * zero_a;
                          const int64_t at = first + m * n;
                          if (form.to_int8) {
                            args.y = static_cast<act_t*>(r.y) + at;
                            product_.finisher().requantize(args);
                          } else {
                            product_.finisher().correct(args.acc, static_cast<int32_t*>(r.y) + at);
                          }
                        });
    }

    const IntegerMatMul& op_;
    IntegerProduct product_;
    MatMulBatches batches_;
    size_t inputs_;
    int64_t m_;
    bool many_zero_a_, many_zero_b_;
    size_t packed_bytes_ = 0, turned_bytes_ = 0, part_bytes_ = 0, shared_bytes_ = 0;
  };

  OpContext context_;
  Form form_;
  Operand a_, b_;
  ZeroPoint zero_a_, zero_b_;
  std::optional<IntegerProduct> product_;  // of a constant B
  PackedWeights packed_;
};

}  // namespace

std::unique_ptr<Op> make_matmul_int8(const NodeInfo& node, const OpContext& context) {
  const QuantParams a = quant_of(node.input(0)), b = quant_of(node.input(1));
  Form form;
  form.zero_a = a.zero_point;
  form.zero_b = b.zero_point - kActOffset;
  form.to_int8 = node.output().dtype != DType::s32;
  if (form.to_int8) {
    expect_dtype(node.output(), DType::s8);
    form.clamp = fused_clamp(node);
    form.multiplier =
        checked_multiplier(requantize_multiplier(a.scale, b.scale, quant_of(node.output()).scale));
  } else {
    expect_no_activation(node);
  }
  return std::make_unique<IntegerMatMul>(node, context, form);
}

std::unique_ptr<Op> make_matmul_integer(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 4);
  expect_outputs(node, 1);
  expect_dtype(node.input(0), DType::s8);
  expect_dtype(node.input(1), DType::s8);
  expect_dtype(node.output(), DType::s32);
  Form form;
  form.runtime = true;
  return std::make_unique<IntegerMatMul>(node, context, form);
}

}  // namespace zeropoint
