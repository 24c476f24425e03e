// transpose: any permutation of up to 8 axes, any dtype. Output axis i is input axis perm[i].
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

std::string list_to_string(const std::vector<int64_t>& list) {
  std::string text = "[";
  for (size_t i = 0; i < list.size(); ++i) text += (i ? ", " : "") + std::to_string(list[i]);
  return text + "]";
}

class Transpose final : public Op {
 public:
  explicit Transpose(const NodeInfo& node)
      : x_(node.input(0)),
        element_bytes_(dtype_size(node.input(0).dtype)),
        perm_(node.attributes.get_ints("perm", {})) {
    expect_same_meaning(node.input(0), node.output());
    std::vector<bool> seen(perm_.size(), false);
    for (int64_t axis : perm_) {
      if (axis < 0 || axis >= static_cast<int64_t>(perm_.size()) ||
          seen[static_cast<size_t>(axis)]) {
        throw Error(ErrorCode::invalid_model,
                    "perm " + list_to_string(perm_) + " is not a permutation");
      }
      seen[static_cast<size_t>(axis)] = true;
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    if (static_cast<size_t>(x.rank()) != perm_.size()) {
      throw Error(ErrorCode::invalid_model, "perm " + list_to_string(perm_) +
                                                " does not fit an input of shape " + x.to_string());
    }
    Shape y;
    for (int64_t axis : perm_) y.push_back(x[static_cast<int>(axis)]);
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const Shape& y = outputs[0];
    if (y.elements() == 0) return make_empty_plan();
    const std::vector<int64_t> strides = dense_strides(inputs[0], element_bytes_);
    std::vector<int64_t> source_strides;
    for (int64_t axis : perm_) source_strides.push_back(strides[static_cast<size_t>(axis)]);
    const StridedCopy copy(dims_of(y), source_strides, dense_strides(y, element_bytes_),
                           element_bytes_);
    return make_plan([this, copy](const void* const* in, void* const* out, RunContext& context) {
      copy.run(x_.resolve(in[0]), out[0], context.pool);
    });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  Operand x_;
  int64_t element_bytes_;
  std::vector<int64_t> perm_;
};

}  // namespace

std::unique_ptr<Op> make_transpose(const NodeInfo& node, const OpContext&) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<Transpose>(node);
}

}  // namespace zeropoint
