// slice (ONNX semantics: negative indices count from the end, bounds are clamped, steps may be
// negative) and split. Any dtype.
#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/strided_copy.h"

namespace zeropoint {
namespace {

// Elements first, first + step, ... of one axis.
struct Range {
  int64_t first = 0, step = 1, count = 0;
};

Range range_of(int64_t start, int64_t end, int64_t step, int64_t size) {
  // A start below -size, or an end above size, is allowed and clamped; nothing here can overflow,
  // since size >= 0.
  const int64_t last = step > 0 ? size : size - 1;
  const int64_t before = step > 0 ? 0 : -1;
  start = std::clamp(start < 0 ? start + size : start, int64_t{0}, std::max<int64_t>(last, 0));
  end = std::clamp(end < 0 ? end + size : end, before, std::max(last, before));
  Range range{start, step, 0};
  if (size == 0) return range;
  // -(INT64_MIN) does not exist; a step of that size picks one element, as any large one does.
  const int64_t stride = step > 0 ? step : -std::max(step, -std::numeric_limits<int64_t>::max());
  const int64_t span = step > 0 ? end - start : start - end;
  if (span > 0) range.count = (span - 1) / stride + 1;
  return range;
}

class Slice final : public Op {
 public:
  explicit Slice(const NodeInfo& node)
      : x_(node.input(0)),
        element_bytes_(dtype_size(node.input(0).dtype)),
        starts_(node.attributes.get_ints("starts", {})),
        ends_(node.attributes.get_ints("ends", {})),
        axes_(node.attributes.get_ints("axes", {})),
        steps_(node.attributes.get_ints("steps", {})) {
    expect_same_meaning(node.input(0), node.output());
    if (!node.attributes.has("axes")) {
      axes_.resize(starts_.size());
      std::iota(axes_.begin(), axes_.end(), int64_t{0});
    }
    if (!node.attributes.has("steps")) steps_.assign(starts_.size(), 1);
    for (const std::vector<int64_t>* list : {&ends_, &axes_, &steps_}) {
      if (list->size() != starts_.size()) {
        throw Error(ErrorCode::invalid_model,
                    "starts, ends, axes and steps have " + std::to_string(starts_.size()) + ", " +
                        std::to_string(ends_.size()) + ", " + std::to_string(axes_.size()) +
                        " and " + std::to_string(steps_.size()) +
                        " values, expected the same number of each");
      }
    }
    if (std::count(steps_.begin(), steps_.end(), 0) > 0) {
      throw Error(ErrorCode::invalid_model, "a step is 0");
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    Shape y = inputs[0];
    const std::vector<Range> ranges = ranges_of(inputs[0]);
    for (int i = 0; i < y.rank(); ++i) y[i] = ranges[static_cast<size_t>(i)].count;
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const Shape& y = outputs[0];
    if (y.elements() == 0) return make_empty_plan();
    const std::vector<Range> ranges = ranges_of(inputs[0]);
    std::vector<int64_t> strides = dense_strides(inputs[0], element_bytes_);
    int64_t offset = 0;
    for (size_t i = 0; i < ranges.size(); ++i) {
      offset += ranges[i].first * strides[i];
      // The step of a single element is not used, and may be so large that the product overflows.
      strides[i] *= ranges[i].count > 1 ? ranges[i].step : 1;
    }
    const StridedCopy copy(dims_of(y), strides, dense_strides(y, element_bytes_), element_bytes_);
    return make_plan(
        [this, copy, offset](const void* const* in, void* const* out, RunContext& context) {
          copy.run(x_.as<char>(in[0]) + offset, out[0], context.pool);
        });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  std::vector<Range> ranges_of(const Shape& x) const {
    std::vector<Range> ranges;
    for (int64_t size : x) ranges.push_back({0, 1, size});
    std::vector<bool> seen(ranges.size(), false);
    for (size_t i = 0; i < axes_.size(); ++i) {
      const int axis = checked_axis(axes_[i], x.rank());
      const auto a = static_cast<size_t>(axis);
      if (seen[a]) {
        throw Error(ErrorCode::invalid_model,
                    "axis " + std::to_string(axis) + " is listed twice in 'axes'");
      }
      seen[a] = true;
      ranges[a] = range_of(starts_[i], ends_[i], steps_[i], x[axis]);
    }
    return ranges;
  }

  Operand x_;
  int64_t element_bytes_;
  std::vector<int64_t> starts_, ends_, axes_, steps_;
};

class Split final : public Op {
 public:
  explicit Split(const NodeInfo& node)
      : x_(node.input(0)),
        element_bytes_(dtype_size(node.input(0).dtype)),
        axis_(node.attributes.get_int("axis", 0)),
        sizes_(node.attributes.get_ints("sizes")) {
    if (sizes_.empty() || sizes_.size() != node.outputs.size()) {
      throw Error(ErrorCode::invalid_model, "the node has " + std::to_string(node.outputs.size()) +
                                                " outputs and " + std::to_string(sizes_.size()) +
                                                " sizes, expected one for each");
    }
    for (size_t i = 0; i < sizes_.size(); ++i) {
      if (sizes_[i] < 0) {
        throw Error(ErrorCode::invalid_model, "size " + std::to_string(i) + " is " +
                                                  std::to_string(sizes_[i]) + ", expected >= 0");
      }
      total_ = checked_add(total_, sizes_[i], "the sum of split sizes");
      if (node.outputs[i] != nullptr) expect_same_meaning(node.input(0), *node.outputs[i]);
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    const int axis = checked_axis(axis_, x.rank());
    if (x[axis] != total_) {
      throw Error(ErrorCode::invalid_argument, "the sizes add up to " + std::to_string(total_) +
                                                   ", but axis " + std::to_string(axis) +
                                                   " of the input's shape " + x.to_string() +
                                                   " has " + std::to_string(x[axis]));
    }
    std::vector<Shape> outputs(sizes_.size(), x);
    for (size_t i = 0; i < sizes_.size(); ++i) outputs[i][axis] = sizes_[i];
    return outputs;
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const int axis = checked_axis(axis_, inputs[0].rank());
    const std::vector<int64_t> strides = dense_strides(inputs[0], element_bytes_);
    struct Part {
      StridedCopy copy;
      int64_t offset;
    };
    std::vector<Part> parts;
    int64_t offset = 0;
    for (const Shape& y : outputs) {
      parts.push_back(
          {StridedCopy(dims_of(y), strides, dense_strides(y, element_bytes_), element_bytes_),
           offset});
      offset += y[axis] * strides[static_cast<size_t>(axis)];
    }
    return make_plan([this, parts](const void* const* in, void* const* out, RunContext& context) {
      const char* x = x_.as<char>(in[0]);
      for (size_t i = 0; i < parts.size(); ++i) {
        if (out[i] != nullptr) parts[i].copy.run(x + parts[i].offset, out[i], context.pool);
      }
    });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  Operand x_;
  int64_t element_bytes_, axis_;
  std::vector<int64_t> sizes_;
  int64_t total_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_slice(const NodeInfo& node, const OpContext&) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<Slice>(node);
}

std::unique_ptr<Op> make_split(const NodeInfo& node, const OpContext&) {
  expect_inputs(node, 1, 1);
  return std::make_unique<Split>(node);
}

}  // namespace zeropoint
