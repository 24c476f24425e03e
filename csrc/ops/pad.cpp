// pad: constant, reflect or edge margins on any axes; negative pads crop. Any dtype.
//
// An int8 constant is given in real units and quantized with the value's own parameters.
#include <algorithm>
#include <cmath>
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

enum class Mode : uint8_t { constant, reflect, edge };

Mode mode_of(const std::string& name) {
  if (name == "constant") return Mode::constant;
  if (name == "reflect") return Mode::reflect;
  if (name == "edge") return Mode::edge;
  throw Error(ErrorCode::unsupported,
              "pad mode '" + name + "' is unknown; expected constant, reflect or edge");
}

// One element of fill, as bytes.
struct Fill {
  char bytes[8] = {};
};

Fill fill_of(double value, const ValueInfo& x) {
  Fill fill;
  const auto store = [&fill](auto element) { std::memcpy(fill.bytes, &element, sizeof(element)); };
  const auto store_integer = [&](auto zero) {
    using T = decltype(zero);
    // 2^53: beyond, a double does not hold every integer.
    const double limit = std::min(std::ldexp(1.0, 53), std::ldexp(1.0, sizeof(T) * 8 - 1) - 1.0);
    if (!(std::fabs(value) <= limit) || value != std::nearbyint(value)) {
      throw Error(ErrorCode::invalid_model, "the pad value " + std::to_string(value) +
                                                " is not an integer that fits " +
                                                dtype_name(x.dtype));
    }
    store(static_cast<T>(value));
  };
  switch (x.dtype) {
    case DType::f32:
      store(static_cast<float>(value));
      break;
    case DType::s8: {
      const QuantParams params = quant_of(x);
      OutputClamp clamp;
      clamp.zero_point = params.zero_point;
      store(quantize(static_cast<float>(value), params.scale, clamp));
      break;
    }
    case DType::s32:
      store_integer(int32_t{0});
      break;
    case DType::s64:
      store_integer(int64_t{0});
      break;
    case DType::u8:  // never inside a session
      break;
  }
  return fill;
}

// One axis: output position o reads input position o - before, where that lies inside.
struct Axis {
  int64_t size, before, output;
};

// The input position that output position `o` shows; -1 for a constant.
int64_t source_position(const Axis& axis, int64_t o, Mode mode) {
  const int64_t i = o - axis.before;
  if (i >= 0 && i < axis.size) return i;
  switch (mode) {
    case Mode::constant:
      return -1;
    case Mode::edge:
      return i < 0 ? 0 : axis.size - 1;
    case Mode::reflect:
      return i < 0 ? -i : 2 * (axis.size - 1) - i;
  }
  return -1;
}

class Pad final : public Op {
 public:
  explicit Pad(const NodeInfo& node)
      : x_(node.input(0)),
        element_bytes_(dtype_size(node.input(0).dtype)),
        pads_(node.attributes.get_ints("pads", {})),
        mode_(mode_of(node.attributes.get_string("mode", "constant"))),
        fill_(fill_of(node.attributes.get_float("value", 0.0), node.input(0))) {
    expect_same_meaning(node.input(0), node.output());
    for (int64_t pad : pads_) {
      if (pad < -kMaxBytes || pad > kMaxBytes) {
        throw Error(ErrorCode::invalid_model, "a pad of " + std::to_string(pad) + " is too large");
      }
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    Shape y;
    for (const Axis& axis : axes_of(x)) y.push_back(axis.output);
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    std::vector<Axis> axes = axes_of(inputs[0]);
    // Trailing axes that stay as they are make one wide element.
    int64_t block = element_bytes_;
    while (!axes.empty() && axes.back().before == 0 && axes.back().output == axes.back().size) {
      block *= axes.back().size;
      axes.pop_back();
    }
    if (axes.empty()) axes.push_back({1, 0, 1});
    const Axis inner = axes.back();
    axes.pop_back();
    int64_t rows = 1;
    for (const Axis& axis : axes) rows *= axis.output;
    return make_plan([this, axes, inner, block, rows](const void* const* in, void* const* out,
                                                      RunContext& context) {
      const char* x = x_.as<char>(in[0]);
      char* y = static_cast<char*>(out[0]);
      const double cost = 10.0 + 0.1 * static_cast<double>(inner.output * block);
      context.pool.parallel_for(rows, grain_for(cost), [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) {
          write_row(axes, inner, block, row, x, y + row * inner.output * block);
        }
      });
    });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  std::vector<Axis> axes_of(const Shape& x) const {
    const auto rank = static_cast<size_t>(x.rank());
    std::vector<int64_t> pads = pads_;
    if (pads.empty()) pads.assign(2 * rank, 0);
    if (pads.size() != 2 * rank) {
      throw Error(ErrorCode::invalid_model, "'pads' has " + std::to_string(pads.size()) +
                                                " values, expected two for each dimension of " +
                                                x.to_string());
    }
    std::vector<Axis> axes;
    for (size_t i = 0; i < rank; ++i) {
      const int64_t size = x[static_cast<int>(i)];
      const int64_t before = pads[i];
      const int64_t after = pads[rank + i];
      const std::string where = "axis " + std::to_string(i) + " of the input's shape " +
                                x.to_string() + " and pads " + std::to_string(before) + ", " +
                                std::to_string(after);
      const int64_t kept = size + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
      if (kept < 0) {
        throw Error(ErrorCode::invalid_argument, where + ": more is cropped than there is");
      }
      const int64_t margin = std::max(before, after);
      if (mode_ == Mode::edge && margin > 0 && kept < 1) {
        throw Error(ErrorCode::invalid_argument, where + ": there is no edge to repeat");
      }
      if (mode_ == Mode::reflect && margin > 0 && margin > kept - 1) {
        throw Error(ErrorCode::invalid_argument,
                    where + ": reflection needs pads smaller than the dimension");
      }
      axes.push_back({size, before, size + before + after});
    }
    return axes;
  }

  void fill(char* to, int64_t bytes) const {
    if (element_bytes_ == 1) {
      std::memset(to, fill_.bytes[0], static_cast<size_t>(bytes));
      return;
    }
    const auto step = static_cast<size_t>(element_bytes_);
    for (int64_t i = 0; i < bytes; i += element_bytes_) std::memcpy(to + i, fill_.bytes, step);
  }

  // All output positions along `inner` for one position on the outer axes.
  void write_row(const std::vector<Axis>& axes, const Axis& inner, int64_t block, int64_t row,
                 const char* x, char* y) const {
    int64_t source = 0;
    int64_t stride = inner.size * block;
    for (size_t i = axes.size(); i-- > 0;) {
      const int64_t position = source_position(axes[i], row % axes[i].output, mode_);
      row /= axes[i].output;
      if (position < 0) return fill(y, inner.output * block);
      source += position * stride;
      stride *= axes[i].size;
    }
    const char* from = x + source;
    // The margins on both sides and the copied middle; a crop leaves no margin.
    const int64_t first = std::clamp<int64_t>(inner.before, 0, inner.output);
    const int64_t last = std::clamp<int64_t>(inner.before + inner.size, first, inner.output);
    write_margin(inner, 0, first, block, from, y);
    if (last > first) {
      std::memcpy(y + first * block, from + (first - inner.before) * block,
                  static_cast<size_t>((last - first) * block));
    }
    write_margin(inner, last, inner.output, block, from, y);
  }

  void write_margin(const Axis& inner, int64_t begin, int64_t end, int64_t block, const char* from,
                    char* y) const {
    if (mode_ == Mode::constant) return fill(y + begin * block, (end - begin) * block);
    for (int64_t o = begin; o < end; ++o) {
      std::memcpy(y + o * block, from + source_position(inner, o, mode_) * block,
                  static_cast<size_t>(block));
    }
  }

  Operand x_;
  int64_t element_bytes_;
  std::vector<int64_t> pads_;
  Mode mode_;
  Fill fill_;
};

}  // namespace

std::unique_ptr<Op> make_pad(const NodeInfo& node, const OpContext&) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<Pad>(node);
}

}  // namespace zeropoint
