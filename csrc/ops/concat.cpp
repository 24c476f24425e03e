// concat of any number of tensors along one axis: bytes are copied, or there already; so int8
// inputs must share the output's scale and zero point.
#include <memory>
#include <string>
#include <vector>

#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/strided_copy.h"

namespace zeropoint {
namespace {

class Concat final : public Op {
 public:
  explicit Concat(const NodeInfo& node)
      : axis_(node.attributes.get_int("axis")), element_bytes_(dtype_size(node.output().dtype)) {
    operands_.reserve(node.inputs.size());
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      expect_same_meaning(node.input(i), node.output());
      operands_.emplace_back(node.input(i));
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    Shape y = inputs[0];
    const int axis = checked_axis(axis_, y.rank());
    y[axis] = 0;
    for (size_t i = 0; i < operands_.size(); ++i) {
      Shape other = inputs[i];
      const bool same_rank = other.rank() == y.rank();
      const int64_t size = same_rank ? other[axis] : 0;
      if (same_rank) other[axis] = y[axis];
      if (other != y) {
        throw Error(ErrorCode::invalid_argument,
                    "input " + std::to_string(i) + " has shape " + inputs[i].to_string() +
                        " and input 0 " + inputs[0].to_string() +
                        "; they may differ only along axis " + std::to_string(axis));
      }
      y[axis] = checked_add(y[axis], size, "a concatenated dimension");
    }
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const Shape& y = outputs[0];
    if (y.elements() == 0) return make_empty_plan();
    const int axis = checked_axis(axis_, y.rank());
    const std::vector<int64_t> strides = dense_strides(y, element_bytes_);
    struct Part {
      StridedCopy copy;
      int64_t offset;
    };
    std::vector<Part> parts;
    int64_t offset = 0;
    for (size_t i = 0; i < operands_.size(); ++i) {
      const Shape& x = inputs[i];
      parts.push_back(
          {StridedCopy(dims_of(x), dense_strides(x, element_bytes_), strides, element_bytes_),
           offset});
      offset += x[axis] * strides[static_cast<size_t>(axis)];
    }
    return make_plan([this, parts](const void* const* in, void* const* out, RunContext& context) {
      for (size_t i = 0; i < parts.size(); ++i) {
        char* to = static_cast<char*>(out[0]) + parts[i].offset;
        if (in[i] != to) parts[i].copy.run(operands_[i].resolve(in[i]), to, context.pool);
      }
    });
  }

  int64_t columns_of_input(size_t input, const std::vector<Shape>& inputs) const override {
    const int last = inputs[input].rank() - 1;
    if (checked_axis(axis_, inputs[input].rank()) != last) return -1;
    int64_t first = 0;
    for (size_t i = 0; i < input; ++i) first += inputs[i][last];
    return first;
  }

  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const Operand& operand : operands_) bytes += operand.bytes();
    return bytes;
  }

 private:
  int64_t axis_, element_bytes_;
  std::vector<Operand> operands_;
};

}  // namespace

std::unique_ptr<Op> make_concat(const NodeInfo& node, const OpContext&) {
  if (node.inputs.empty()) throw Error(ErrorCode::invalid_model, "concat needs at least one input");
  expect_outputs(node, 1);
  return std::make_unique<Concat>(node);
}

}  // namespace zeropoint
