// lookup: any function of an int8 value, as a table of 256 results; one table, or one per channel
// of the last axis.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "kernels/elementwise_s8/elementwise_s8.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

namespace es = elementwise_s8;

constexpr int64_t kEntries = 256;

class LookupOp final : public Op {
 public:
  LookupOp(const NodeInfo& node, const OpContext& context)
      : kernel_(es::select(context.isa)), x_(node.input(0)) {
    quant_of(node.input(0));
    quant_of(node.output());
    const ValueInfo& table = node.input(1);
    expect_dtype(table, DType::s8);
    if (!table.is_constant()) {
      throw Error(ErrorCode::unsupported, "the table '" + table.name + "' is not a constant");
    }
    const Shape& shape = table.shape;
    const bool per_channel = shape.rank() == 2;
    if (shape.rank() < 1 || shape.rank() > 2 || shape.back() != kEntries ||
        (per_channel && shape[0] < 1)) {
      throw Error(ErrorCode::invalid_model, "the table '" + table.name + "' has shape " +
                                                shape.to_string() + ", expected [256] or [C, 256]");
    }
    channels_ = per_channel ? shape[0] : 0;
    // The file indexes with x + 128 and the kernels with stored x - kActMin: the same number. The
    // results change their domain.
    const int8_t* entries = table.constant->as<int8_t>();
    table_.resize(static_cast<size_t>(shape.elements()));
    for (size_t i = 0; i < table_.size(); ++i) {
      table_[i] = static_cast<act_t>(entries[i] + kActOffset);
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    if (channels_ > 0 && (x.rank() == 0 || x.back() != channels_)) {
      throw Error(ErrorCode::invalid_argument, "there are tables for " + std::to_string(channels_) +
                                                   " channels, but the input's shape is " +
                                                   x.to_string());
    }
    return {x};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const int64_t elements = inputs[0].elements();
    if (elements == 0) return make_empty_plan();
    return make_kernel_plan(
        kernel_, [this, elements](const void* const* in, void* const* out, RunContext& context) {
          const act_t* x = x_.as<act_t>(in[0]);
          act_t* y = static_cast<act_t*>(out[0]);
          if (channels_ <= 1) {
            run_one_table(x, y, elements, context.pool);
          } else {
            run_per_channel(x, y, elements / channels_, context.pool);
          }
        });
  }

  bool can_overwrite(size_t input) const override { return input == 0 && !x_.is_constant(); }
  size_t packed_bytes() const override { return x_.bytes() + table_.size(); }

 private:
  void run_one_table(const act_t* x, act_t* y, int64_t elements, ThreadPool& pool) const {
    pool.parallel_for(elements, grain_for(0.05), [&](int64_t begin, int64_t end, int) {
      es::LookupArgs args;
      args.x = x + begin;
      args.table = table_.data();
      args.y = y + begin;
      args.n = end - begin;
      kernel_.lookup(args);
    });
  }

  // Blocks of channels whose tables stay in the first-level cache.
  void run_per_channel(const act_t* x, act_t* y, int64_t pixels, ThreadPool& pool) const {
    constexpr int64_t kChannelBlock = 64;
    pool.parallel_for(
        pixels, grain_for(static_cast<double>(channels_)), [&](int64_t begin, int64_t end, int) {
          for (int64_t c0 = 0; c0 < channels_; c0 += kChannelBlock) {
            const int64_t c1 = std::min(channels_, c0 + kChannelBlock);
            for (int64_t p = begin; p < end; ++p) {
              const act_t* from = x + p * channels_;
              act_t* to = y + p * channels_;
              for (int64_t c = c0; c < c1; ++c) {
                to[c] = table_[static_cast<size_t>(c * kEntries + (from[c] - kActMin))];
              }
            }
          }
        });
  }

  const es::Kernel& kernel_;
  Operand x_;
  int64_t channels_ = 0;  // 0: one table for all
  std::vector<act_t> table_;
};

}  // namespace

std::unique_ptr<Op> make_lookup(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 2);
  expect_outputs(node, 1);
  expect_dtype(node.input(0), DType::s8);
  return std::make_unique<LookupOp>(node, context);
}

}  // namespace zeropoint
