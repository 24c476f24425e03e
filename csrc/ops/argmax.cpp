// argmax along one axis: int64 indices of int8 or float32 maxima; the first of equals, or the last
// with select_last. A NaN is never larger than what came before it.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

constexpr int64_t kColumns = 64;  // inner positions whose maxima are tracked together

// The arg max of each of `columns` columns over `count` rows that are `stride` apart.
template <bool last, typename T>
void argmax_columns(const T* x, int64_t stride, int64_t count, int64_t columns, int64_t* y) {
  T best[kColumns];
  for (int64_t c = 0; c < columns; ++c) {
    best[c] = x[c];
    y[c] = 0;
  }
  for (int64_t i = 1; i < count; ++i) {
    const T* row = x + i * stride;
    for (int64_t c = 0; c < columns; ++c) {
      if (last ? row[c] >= best[c] : row[c] > best[c]) {
        best[c] = row[c];
        y[c] = i;
      }
    }
  }
}

class ArgMax final : public Op {
 public:
  explicit ArgMax(const NodeInfo& node)
      : int8_(expect_float_or_int8(node)),
        x_(node.input(0)),
        axis_(node.attributes.get_int("axis", 0)),
        keepdims_(node.attributes.get_int("keepdims", 1) != 0),
        select_last_(node.attributes.get_int("select_last", 0) != 0) {
    expect_dtype(node.output(), DType::s64);
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    const int axis = checked_axis(axis_, x.rank());
    if (x[axis] == 0) {
      throw Error(ErrorCode::invalid_argument,
                  "the arg max over no element, in an input of shape " + x.to_string());
    }
    Shape y;
    for (int i = 0; i < x.rank(); ++i) {
      if (i != axis) y.push_back(x[i]);
      if (i == axis && keepdims_) y.push_back(1);
    }
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    return int8_ ? plan_typed<act_t>(inputs[0]) : plan_typed<float>(inputs[0]);
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  template <typename T>
  std::unique_ptr<Plan> plan_typed(const Shape& shape) const {
    const int axis = checked_axis(axis_, shape.rank());
    const int64_t outer = shape.elements(0, axis);
    const int64_t count = shape[axis];
    const int64_t inner = shape.elements(axis + 1, shape.rank());
    const int64_t blocks = ceil_div(inner, kColumns);
    const double cost = static_cast<double>(count * std::min(inner, kColumns));
    return make_plan([=](const void* const* in, void* const* out, RunContext& context) {
      const T* x = x_.as<T>(in[0]);
      auto* y = static_cast<int64_t*>(out[0]);
      context.pool.parallel_for(outer * blocks, grain_for(cost),
                                [&](int64_t begin, int64_t end, int) {
                                  for (int64_t item = begin; item < end; ++item) {
                                    const int64_t column = item % blocks * kColumns;
                                    const T* from = x + item / blocks * count * inner + column;
                                    int64_t* to = y + item / blocks * inner + column;
                                    const int64_t columns = std::min(kColumns, inner - column);
                                    if (select_last_) {
                                      argmax_columns<true>(from, inner, count, columns, to);
                                    } else {
                                      argmax_columns<false>(from, inner, count, columns, to);
                                    }
                                  }
                                });
    });
  }

  bool int8_;
  Operand x_;
  int64_t axis_;
  bool keepdims_, select_last_;
};

}  // namespace

std::unique_ptr<Op> make_argmax(const NodeInfo& node, const OpContext&) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<ArgMax>(node);
}

}  // namespace zeropoint
