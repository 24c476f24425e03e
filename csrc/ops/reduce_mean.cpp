// reduce_mean over any axes, int8 and float32.
//
// float32: the elements of a mean are summed in row-major order from 0, then multiplied by
// 1 / count; int8: the exact sum of (q - zero_point), then requantize with mean_multiplier.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "kernels/pool_f32/pool_f32.h"
#include "kernels/pool_s8/pool_s8.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/reduction.h"
#include "ops/strided_copy.h"

namespace zeropoint {
namespace {

// The input seen as [outer, count, inner] with the reduced axes in the middle; where they are not
// neighbours, kept axes behind the first reduced one move to the end first.
struct View {
  int64_t outer = 1, count = 1, inner = 1;
  std::vector<int> order;  // axes of the view, in order
  bool moved = false;      // is `order` another one than the input's?
};

View view_of(const Shape& x, const std::vector<bool>& reduced) {
  View view;
  std::vector<int> before, middle, after;
  for (int i = 0; i < x.rank(); ++i) {
    if (reduced[static_cast<size_t>(i)]) {
      middle.push_back(i);
      view.count *= x[i];
    } else if (middle.empty()) {
      before.push_back(i);
      view.outer *= x[i];
    } else {
      after.push_back(i);
      view.inner *= x[i];
    }
  }
  for (const std::vector<int>* part : {&before, &middle, &after}) {
    view.order.insert(view.order.end(), part->begin(), part->end());
  }
  int previous = -1;  // axes of size 1 may lie anywhere
  for (int axis : view.order) {
    if (x[axis] == 1) continue;
    if (axis < previous) view.moved = true;
    previous = axis;
  }
  return view;
}

// Means of contiguous runs of int8.
void mean_rows(const act_t* x, act_t* y, int64_t rows, int64_t count, int32_t zero_point,
               float multiplier, const OutputClamp& clamp) {
  for (int64_t r = 0; r < rows; ++r) {
    int32_t sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += x[r * count + i];
    y[r] = requantize(sum - static_cast<int32_t>(count) * zero_point, multiplier, clamp);
  }
}

// Means of contiguous runs of float32: several rows at once, because the additions of one row wait
// for each other.
void mean_rows(const float* x, float* y, int64_t rows, int64_t count, float multiplier) {
  constexpr int64_t kRows = 8;
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t here = std::min(kRows, rows - r);
    float sums[kRows] = {};
    if (here == kRows) {
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t j = 0; j < kRows; ++j) sums[j] += x[(r + j) * count + i];
      }
    } else {
      for (int64_t j = 0; j < here; ++j) {
        for (int64_t i = 0; i < count; ++i) sums[j] += x[(r + j) * count + i];
      }
    }
    for (int64_t j = 0; j < here; ++j) y[r + j] = sums[j] * multiplier;
  }
}

class ReduceMean final : public Op {
 public:
  ReduceMean(const NodeInfo& node, const OpContext& context)
      : int8_(expect_float_or_int8(node)),
        kernel_s8_(pool_s8::select(context.isa)),
        kernel_f32_(pool_f32::select(context.isa)),
        x_(node.input(0)),
        axes_(node.attributes.get_ints("axes", {})),
        keepdims_(node.attributes.get_int("keepdims", 1) != 0) {
    expect_same_dtype(node.input(0), node.output());
    if (int8_) {
      quant_x_ = quant_of(node.input(0));
      scale_y_ = quant_of(node.output()).scale;
      clamp_ = full_clamp(node.output());
      checked_multiplier(mean_multiplier(quant_x_.scale, 1, scale_y_));
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    const std::vector<bool> reduced = reduced_axes(x.rank());
    Shape y;
    for (int i = 0; i < x.rank(); ++i) {
      if (!reduced[static_cast<size_t>(i)]) {
        y.push_back(x[i]);
        continue;
      }
      if (x[i] == 0) {
        throw Error(ErrorCode::invalid_argument,
                    "the mean over no element, in an input of shape " + x.to_string());
      }
      if (keepdims_) y.push_back(1);
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
  std::vector<bool> reduced_axes(int rank) const {
    std::vector<bool> reduced(static_cast<size_t>(rank), false);
    for (int64_t axis : axes_) {
      const auto i = static_cast<size_t>(checked_axis(axis, rank));
      if (reduced[i]) {
        throw Error(ErrorCode::invalid_model,
                    "axis " + std::to_string(axis) + " is listed twice in 'axes'");
      }
      reduced[i] = true;
    }
    return reduced;
  }

  template <typename T>
  std::unique_ptr<Plan> plan_typed(const Shape& x) const {
    const View view = view_of(x, reduced_axes(x.rank()));
    const Reduction reduction(view.outer, view.count, view.inner);
    const std::vector<int64_t> strides = dense_strides(x, sizeof(T));
    Shape ordered;
    std::vector<int64_t> source_strides;
    for (int axis : view.order) {
      ordered.push_back(x[axis]);
      source_strides.push_back(strides[static_cast<size_t>(axis)]);
    }
    const StridedCopy reorder(dims_of(ordered), source_strides, dense_strides(ordered, sizeof(T)),
                              sizeof(T));
    const size_t scratch = view.moved ? static_cast<size_t>(x.elements()) * sizeof(T) : 0;
    const auto run = [this, view, reduction, reorder](const void* const* in, void* const* out,
                                                      RunContext& context) {
      const T* from = x_.as<T>(in[0]);
      if (view.moved) {
        reorder.run(from, context.scratch, context.pool);
        from = static_cast<const T*>(context.scratch);
      }
      reduce(view, reduction, from, static_cast<T*>(out[0]), context.pool);
    };
    return int8_ ? make_kernel_plan(kernel_s8_, run, scratch)
                 : make_kernel_plan(kernel_f32_, run, scratch);
  }

  void reduce(const View& view, const Reduction& reduction, const act_t* x, act_t* y,
              ThreadPool& pool) const {
    const float multiplier = mean_multiplier(quant_x_.scale, view.count, scale_y_);
    if (view.inner > 1) {
      pool_s8::RunArgs args;
      args.clamp = clamp_;
      args.zero_point = quant_x_.zero_point;
      args.multiplier = &multiplier;
      reduction.run(kernel_s8_.mean, args, x, y, pool, 0.05);
      return;
    }
    pool.parallel_for(view.outer, grain_for(5.0 + 0.1 * static_cast<double>(view.count)),
                      [&](int64_t begin, int64_t end, int) {
                        mean_rows(x + begin * view.count, y + begin, end - begin, view.count,
                                  quant_x_.zero_point, multiplier, clamp_);
                      });
  }

  void reduce(const View& view, const Reduction& reduction, const float* x, float* y,
              ThreadPool& pool) const {
    const float multiplier = 1.0f / static_cast<float>(view.count);
    if (view.inner > 1) {
      pool_f32::RunArgs args;
      args.multiplier = &multiplier;
      reduction.run(kernel_f32_.mean, args, x, y, pool, 0.1);
      return;
    }
    pool.parallel_for(view.outer, grain_for(5.0 + 0.3 * static_cast<double>(view.count)),
                      [&](int64_t begin, int64_t end, int) {
                        mean_rows(x + begin * view.count, y + begin, end - begin, view.count,
                                  multiplier);
                      });
  }

  bool int8_;
  const pool_s8::Kernel& kernel_s8_;
  const pool_f32::Kernel& kernel_f32_;
  Operand x_;
  std::vector<int64_t> axes_;
  bool keepdims_;
  QuantParams quant_x_;
  float scale_y_ = 1.0f;
  OutputClamp clamp_;
};

}  // namespace

std::unique_ptr<Op> make_reduce_mean(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<ReduceMean>(node, context);
}

}  // namespace zeropoint
