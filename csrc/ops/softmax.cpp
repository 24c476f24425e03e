// softmax along one axis. float32: kernels of elementwise_f32; int8: the exponentials come from a
// table in the model, exp(-scale_x * d) for d = 0..255. Rows that do not lie contiguous are turned
// around into scratch memory and back.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "kernels/elementwise_f32/elementwise_f32.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/strided_copy.h"

namespace zeropoint {
namespace {

namespace ef = elementwise_f32;

constexpr int64_t kEntries = 256;

class Softmax final : public Op {
 public:
  Softmax(const NodeInfo& node, const OpContext& context)
      : int8_(expect_float_or_int8(node)),
        kernel_(ef::select(context.isa)),
        x_(node.input(0)),
        axis_(node.attributes.get_int("axis", -1)) {
    expect_same_dtype(node.input(0), node.output());
    if (!int8_) {
      if (node.optional_input(1) != nullptr) {
        throw Error(ErrorCode::invalid_model, "a float32 softmax takes no table");
      }
      return;
    }
    quant_of(node.input(0));
    scale_y_ = quant_of(node.output()).scale;
    clamp_ = full_clamp(node.output());
    checked_multiplier(1.0f / scale_y_);
    read_table(node.input(1));
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    checked_axis(axis_, inputs[0].rank());
    return {inputs[0]};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    if (inputs[0].elements() == 0) return make_empty_plan();
    return int8_ ? plan_typed<act_t>(inputs[0]) : plan_typed<float>(inputs[0]);
  }
  size_t packed_bytes() const override { return x_.bytes() + table_.size() * sizeof(float); }

 private:
  void read_table(const ValueInfo& table) {
    expect_dtype(table, DType::f32);
    if (!table.is_constant() || table.shape.rank() != 1 || table.shape[0] != kEntries) {
      throw Error(ErrorCode::invalid_model, "the table '" + table.name + "' of shape " +
                                                table.shape.to_string() +
                                                " is not a constant of shape [256]");
    }
    const float* entries = table.constant->as<float>();
    for (int64_t i = 0; i < kEntries; ++i) {
      // Also refuses NaN. With a first entry of 1, no sum of exponentials is 0.
      if (!(entries[i] >= 0.0f && entries[i] <= 1.0f) || (i == 0 && entries[i] != 1.0f)) {
        throw Error(ErrorCode::invalid_model,
                    "entry " + std::to_string(i) + " of the table '" + table.name + "' is " +
                        std::to_string(entries[i]) +
                        "; exponentials of 0, -scale, -2 scale, ... start at 1 and lie in [0, 1]");
      }
    }
    table_.assign(entries, entries + kEntries);
  }

  void run_row(const float* x, float* y, int64_t n) const {
    ef::SoftmaxArgs args;
    args.x = x;
    args.y = y;
    args.n = n;
    kernel_.softmax(args);
  }

  void run_row(const act_t* x, act_t* y, int64_t n) const {
    ef::SoftmaxS8Args args;
    args.x = x;
    args.table = table_.data();
    args.y = y;
    args.n = n;
    args.scale_y = scale_y_;
    args.clamp = clamp_;
    kernel_.softmax_s8(args);
  }

  template <typename T>
  void run_rows(const T* x, T* y, int64_t rows, int64_t n, ThreadPool& pool) const {
    pool.parallel_for(rows, grain_for(20.0 + 1.5 * static_cast<double>(n)),
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t r = begin; r < end; ++r) run_row(x + r * n, y + r * n, n);
                      });
  }

  template <typename T>
  std::unique_ptr<Plan> plan_typed(const Shape& shape) const {
    const int axis = checked_axis(axis_, shape.rank());
    const int64_t outer = shape.elements(0, axis);
    const int64_t n = shape[axis];
    const int64_t inner = shape.elements(axis + 1, shape.rank());
    const int64_t rows = outer * inner;
    if (inner == 1) {
      return make_kernel_plan(
          kernel_, [this, rows, n](const void* const* in, void* const* out, RunContext& context) {
            run_rows(x_.as<T>(in[0]), static_cast<T*>(out[0]), rows, n, context.pool);
          });
    }
    const Shape given{outer, n, inner};
    const Shape turned{outer, inner, n};
    const std::vector<int64_t> g = dense_strides(given, sizeof(T));
    const std::vector<int64_t> t = dense_strides(turned, sizeof(T));
    const StridedCopy forth(dims_of(turned), {g[0], g[2], g[1]}, t, sizeof(T));
    const StridedCopy back(dims_of(given), {t[0], t[2], t[1]}, g, sizeof(T));
    // Two buffers, the second on a 64-byte boundary and both readable past their end.
    const int64_t half =
        round_up<int64_t>(shape.elements() * static_cast<int64_t>(sizeof(T)) + kOverreadBytes, 64);
    return make_kernel_plan(
        kernel_,
        [this, forth, back, half, rows, n](const void* const* in, void* const* out,
                                           RunContext& context) {
          T* x = static_cast<T*>(context.scratch);
          T* y = reinterpret_cast<T*>(static_cast<char*>(context.scratch) + half);
          forth.run(x_.resolve(in[0]), x, context.pool);
          run_rows(x, y, rows, n, context.pool);
          back.run(y, out[0], context.pool);
        },
        static_cast<size_t>(2 * half));
  }

  bool int8_;
  const ef::Kernel& kernel_;
  Operand x_;
  int64_t axis_;
  std::vector<float> table_;
  float scale_y_ = 1.0f;
  OutputClamp clamp_;
};

}  // namespace

std::unique_ptr<Op> make_softmax(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 2);
  expect_outputs(node, 1);
  return std::make_unique<Softmax>(node, context);
}

}  // namespace zeropoint
