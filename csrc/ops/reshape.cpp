// reshape, flatten, squeeze and unsqueeze: the input's bytes under another shape. Any dtype.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

class View : public Op {
 public:
  explicit View(const NodeInfo& node)
      : x_(node.input(0)), element_bytes_(dtype_size(node.input(0).dtype)) {
    expect_same_meaning(node.input(0), node.output());
  }

  // A constant's bytes are not in the session's domain, so those are copied.
  bool is_view() const override { return !x_.is_constant(); }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    if (is_view()) return nullptr;
    const auto bytes = static_cast<size_t>(inputs[0].elements() * element_bytes_);
    if (bytes == 0) return make_empty_plan();
    return make_plan([this, bytes](const void* const* in, void* const* out, RunContext&) {
      std::memcpy(out[0], x_.resolve(in[0]), bytes);
    });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  Operand x_;
  int64_t element_bytes_;
};

class Reshape final : public View {
 public:
  explicit Reshape(const NodeInfo& node)
      : View(node), shape_(node.attributes.get_ints("shape", {})) {
    int inferred = 0;
    for (int64_t size : shape_) {
      if (size < -1) {
        throw Error(ErrorCode::invalid_model,
                    "'shape' has the value " + std::to_string(size) + ", expected >= -1");
      }
      inferred += size == -1 ? 1 : 0;
    }
    if (inferred > 1) throw Error(ErrorCode::invalid_model, "'shape' has more than one -1");
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    Shape y;
    int free_axis = -1;
    int64_t known = 1;
    for (size_t i = 0; i < shape_.size(); ++i) {
      int64_t size = shape_[i];
      if (size == 0) {
        if (i >= static_cast<size_t>(x.rank())) {
          throw Error(ErrorCode::invalid_model, "'shape' copies dimension " + std::to_string(i) +
                                                    ", which the input's shape " + x.to_string() +
                                                    " does not have");
        }
        size = x[static_cast<int>(i)];
      }
      if (size == -1) {
        free_axis = static_cast<int>(i);
      } else {
        known = checked_mul(known, size, "a reshaped tensor");
      }
      y.push_back(size);
    }
    const int64_t elements = x.elements();
    if (free_axis >= 0) y[free_axis] = known > 0 ? elements / known : 0;
    if (y.elements() != elements || (free_axis >= 0 && known == 0)) {
      Shape wanted;
      for (int64_t size : shape_) wanted.push_back(size);
      throw Error(ErrorCode::invalid_argument, "an input of shape " + x.to_string() +
                                                   " cannot be given the shape " +
                                                   wanted.to_string());
    }
    return {y};
  }

 private:
  std::vector<int64_t> shape_;
};

// [product of the axes before `axis`, product of the others].
class Flatten final : public View {
 public:
  explicit Flatten(const NodeInfo& node) : View(node), axis_(node.attributes.get_int("axis", 1)) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    if (axis_ < -x.rank() || axis_ > x.rank()) {
      throw Error(ErrorCode::invalid_model, "axis " + std::to_string(axis_) +
                                                " does not fit an input of shape " + x.to_string());
    }
    const int axis = static_cast<int>(axis_ < 0 ? axis_ + x.rank() : axis_);
    return {{x.elements(0, axis), x.elements(axis, x.rank())}};
  }

 private:
  int64_t axis_;
};

// The axes of a list, checked and marked in [0, rank).
std::vector<bool> marked_axes(const std::vector<int64_t>& axes, int rank) {
  std::vector<bool> marked(static_cast<size_t>(rank), false);
  for (int64_t axis : axes) {
    const auto i = static_cast<size_t>(checked_axis(axis, rank));
    if (marked[i]) {
      throw Error(ErrorCode::invalid_model,
                  "axis " + std::to_string(axis) + " is listed twice in 'axes'");
    }
    marked[i] = true;
  }
  return marked;
}

class Squeeze final : public View {
 public:
  explicit Squeeze(const NodeInfo& node)
      : View(node), axes_(node.attributes.get_ints("axes", {})) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    const std::vector<bool> removed = marked_axes(axes_, x.rank());
    Shape y;
    for (int i = 0; i < x.rank(); ++i) {
      if (!removed[static_cast<size_t>(i)]) {
        y.push_back(x[i]);
      } else if (x[i] != 1) {
        throw Error(ErrorCode::invalid_argument, "axis " + std::to_string(i) +
                                                     " of the input's shape " + x.to_string() +
                                                     " is not 1 and cannot be squeezed");
      }
    }
    return {y};
  }

 private:
  std::vector<int64_t> axes_;
};

class Unsqueeze final : public View {
 public:
  explicit Unsqueeze(const NodeInfo& node)
      : View(node), axes_(node.attributes.get_ints("axes", {})) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    const size_t rank = static_cast<size_t>(x.rank()) + axes_.size();
    if (rank > Shape::kMaxRank) {
      throw Error(ErrorCode::unsupported, "a tensor has more than 8 dimensions");
    }
    const std::vector<bool> added = marked_axes(axes_, static_cast<int>(rank));
    Shape y;
    int next = 0;
    for (size_t i = 0; i < rank; ++i) y.push_back(added[i] ? 1 : x[next++]);
    return {y};
  }

 private:
  std::vector<int64_t> axes_;
};

template <typename T>
std::unique_ptr<Op> make_view(const NodeInfo& node) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<T>(node);
}

}  // namespace

std::unique_ptr<Op> make_reshape(const NodeInfo& node, const OpContext&) {
  return make_view<Reshape>(node);
}
std::unique_ptr<Op> make_flatten(const NodeInfo& node, const OpContext&) {
  return make_view<Flatten>(node);
}
std::unique_ptr<Op> make_squeeze(const NodeInfo& node, const OpContext&) {
  return make_view<Squeeze>(node);
}
std::unique_ptr<Op> make_unsqueeze(const NodeInfo& node, const OpContext&) {
  return make_view<Unsqueeze>(node);
}

}  // namespace zeropoint
