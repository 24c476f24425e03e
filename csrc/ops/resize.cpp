// resize of [N, H, W, C]: nearest (any dtype) and linear (int8 and float32).
//
// Coordinates are computed in float64 when shapes are known, as ONNX defines them: with
// scale = output / input where `sizes` is given, or the attribute's own where `scales` is,
//   half_pixel          x = (o + 0.5) / scale - 0.5
//   pytorch_half_pixel  the same, but 0 for an output of one pixel
//   asymmetric          x = o / scale
//   align_corners       x = o * (input - 1) / (length - 1), 0 where length is 1; the length is the
//                       output's, or input * scale before rounding down where scales are given, as
//                       in ONNX's reference implementation
// Nearest neighbours outside the image become its edge.
//
// linear, with x clamped to [0, input - 1], i0 = floor(x), i1 = min(i0 + 1, input - 1) and
// f = x - i0 (float64) on each axis:
//   float32: w1 = float32(f), w0 = 1 - w1;  top    = p[y0][x0] * wx0 + p[y0][x1] * wx1,
//            bottom = p[y1][x0] * wx0 + p[y1][x1] * wx1,  result = top * wy0 + bottom * wy1,
//            every operation rounded on its own;
//   int8:    w1 = round_half_even(f * 2048), w0 = 2048 - w1;
//            acc = sum over the four neighbours of wy * wx * (q - zero_point), exact in int32;
//            result = round_clamp(float32(acc) * 2^-22).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/cpu_affinity.h"
#include "kernels/elementwise_s8/elementwise_s8.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/window.h"

namespace zeropoint {
namespace {

enum class Coordinates : uint8_t { half_pixel, pytorch_half_pixel, asymmetric, align_corners };
enum class Nearest : uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil };

template <typename Enum>
struct Named {
  const char* name;
  Enum value;
};

constexpr Named<Coordinates> kCoordinates[] = {
    {"half_pixel", Coordinates::half_pixel},
    {"pytorch_half_pixel", Coordinates::pytorch_half_pixel},
    {"asymmetric", Coordinates::asymmetric},
    {"align_corners", Coordinates::align_corners},
};
constexpr Named<Nearest> kNearest[] = {
    {"round_prefer_floor", Nearest::round_prefer_floor},
    {"round_prefer_ceil", Nearest::round_prefer_ceil},
    {"floor", Nearest::floor},
    {"ceil", Nearest::ceil},
};

template <typename Enum, size_t count>
Enum read_choice(const Attributes& attributes, const char* key, const Named<Enum> (&choices)[count],
                 const char* fallback) {
  const std::string name = attributes.get_string(key, fallback);
  std::string known;
  for (const Named<Enum>& choice : choices) {
    if (name == choice.name) return choice.value;
    known += std::string(known.empty() ? "" : ", ") + choice.name;
  }
  throw Error(ErrorCode::unsupported,
              std::string("attribute '") + key + "' is '" + name + "', expected one of " + known);
}

// One axis of the output in terms of the input. Both neighbours are inside the input.
struct AxisMap {
  std::vector<int64_t> low, high;
  std::vector<double> fraction;  // of the way from low to high
};

class Resize : public Op {
 public:
  explicit Resize(const NodeInfo& node)
      : x_(node.input(0)),
        coordinates_(read_choice(node.attributes, "coordinates", kCoordinates, "half_pixel")) {
    expect_same_meaning(node.input(0), node.output());
    const bool has_sizes = node.attributes.has("sizes");
    if (has_sizes == node.attributes.has("scales")) {
      throw Error(ErrorCode::invalid_model, "expected either 'sizes' or 'scales'");
    }
    const char* key = has_sizes ? "sizes" : "scales";
    if (has_sizes) {
      sizes_ = node.attributes.get_ints("sizes");
    } else {
      scales_ = node.attributes.get_floats("scales");
    }
    if (sizes_.size() + scales_.size() != 2) {
      throw Error(ErrorCode::invalid_model, std::string("attribute '") + key + "' has " +
                                                std::to_string(sizes_.size() + scales_.size()) +
                                                " values, expected 2 [vertical, horizontal]");
    }
    for (int64_t size : sizes_) check_size(size);
    for (double scale : scales_) {
      if (!(std::isfinite(scale) && scale > 0.0)) {
        throw Error(ErrorCode::invalid_model,
                    "a scale is " + std::to_string(scale) + ", expected a finite number > 0");
      }
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    expect_rank(x, 4, "[N, H, W, C]");
    Shape y = x;
    for (int axis = 0; axis < 2; ++axis) {
      const int64_t size = x[axis + 1];
      if (size < 1 || size > kMaxWindowAttribute) {
        throw Error(ErrorCode::invalid_argument,
                    "an image of shape " + x.to_string() + " cannot be resized");
      }
      const auto a = static_cast<size_t>(axis);
      if (!sizes_.empty()) {
        y[axis + 1] = sizes_[a];
        continue;
      }
      const double scaled = std::floor(static_cast<double>(size) * scales_[a]);
      y[axis + 1] = scaled < 9e15 ? static_cast<int64_t>(scaled) : kMaxWindowAttribute + 1;
      check_size(y[axis + 1]);
    }
    return {y};
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 protected:
  // The coordinate in the input of each output position along axis 0 (vertical) or 1.
  std::vector<double> positions(const Shape& x, const Shape& y, int axis) const {
    const auto input = static_cast<double>(x[axis + 1]);
    const auto output = static_cast<double>(y[axis + 1]);
    const double scale = scales_.empty() ? output / input : scales_[static_cast<size_t>(axis)];
    const double length = scales_.empty() ? output : input * scale;
    std::vector<double> result;
    for (int64_t i = 0; i < y[axis + 1]; ++i) {
      const auto o = static_cast<double>(i);
      const double half_pixel = (o + 0.5) / scale - 0.5;
      switch (coordinates_) {
        case Coordinates::half_pixel:
          result.push_back(half_pixel);
          break;
        case Coordinates::pytorch_half_pixel:
          result.push_back(output > 1.0 ? half_pixel : 0.0);
          break;
        case Coordinates::asymmetric:
          result.push_back(o / scale);
          break;
        case Coordinates::align_corners:
          result.push_back(length > 1.0 ? o * (input - 1.0) / (length - 1.0) : 0.0);
          break;
      }
    }
    return result;
  }

  // The two neighbours of each output position.
  AxisMap linear_map(const Shape& x, const Shape& y, int axis) const {
    const auto last = static_cast<double>(x[axis + 1] - 1);
    AxisMap map;
    for (double position : positions(x, y, axis)) {
      position = std::clamp(position, 0.0, last);
      const double low = std::floor(position);
      map.low.push_back(static_cast<int64_t>(low));
      map.high.push_back(static_cast<int64_t>(std::min(low + 1.0, last)));
      map.fraction.push_back(position - low);
    }
    return map;
  }

  Operand x_;
  Coordinates coordinates_;

 private:
  static void check_size(int64_t size) {
    if (size < 1 || size > kMaxWindowAttribute) {
      throw Error(ErrorCode::invalid_model, "an image side of " + std::to_string(size) +
                                                " pixels was asked for, expected 1 to " +
                                                std::to_string(kMaxWindowAttribute));
    }
  }

  std::vector<int64_t> sizes_;
  std::vector<double> scales_;
};

class ResizeNearest final : public Resize {
 public:
  explicit ResizeNearest(const NodeInfo& node)
      : Resize(node),
        nearest_(read_choice(node.attributes, "nearest_mode", kNearest, "round_prefer_floor")),
        element_bytes_(dtype_size(node.input(0).dtype)) {}

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const Shape& x = inputs[0];
    const Shape& y = outputs[0];
    if (y.elements() == 0) return make_empty_plan();
    const int64_t pixel = x[3] * element_bytes_;
    return make_plan([this, pixel, height = x[1], width = x[2], images = x[0],
                      rows = nearest_map(x, y, 0), columns = nearest_map(x, y, 1)](
                         const void* const* in, void* const* out, RunContext& context) {
      const char* from = x_.as<char>(in[0]);
      char* to = static_cast<char*>(out[0]);
      const auto output_height = static_cast<int64_t>(rows.size());
      const int64_t row_bytes = static_cast<int64_t>(columns.size()) * pixel;
      const double cost =
          static_cast<double>(columns.size()) * (2.0 + 0.1 * static_cast<double>(pixel));
      context.pool.parallel_for(
          images * output_height, grain_for(cost), [&](int64_t begin, int64_t end, int) {
            const char* previous = nullptr;
            for (int64_t item = begin; item < end; ++item) {
              const int64_t image = item / output_height;
              const int64_t row = rows[static_cast<size_t>(item % output_height)];
              const char* source = from + (image * height + row) * width * pixel;
              char* y_row = to + item * row_bytes;
              if (source == previous) {  // an enlarged row: the same as the one above
                std::memcpy(y_row, y_row - row_bytes, static_cast<size_t>(row_bytes));
                continue;
              }
              previous = source;
              for (int64_t column : columns) {
                std::memcpy(y_row, source + column * pixel, static_cast<size_t>(pixel));
                y_row += pixel;
              }
            }
          });
    });
  }

 private:
  std::vector<int64_t> nearest_map(const Shape& x, const Shape& y, int axis) const {
    const auto last = static_cast<double>(x[axis + 1] - 1);
    std::vector<int64_t> map;
    for (double position : positions(x, y, axis)) {
      double rounded = 0.0;
      switch (nearest_) {
        case Nearest::round_prefer_floor:
          rounded = std::ceil(position - 0.5);
          break;
        case Nearest::round_prefer_ceil:
          rounded = std::floor(position + 0.5);
          break;
        case Nearest::floor:
          rounded = std::floor(position);
          break;
        case Nearest::ceil:
          rounded = std::ceil(position);
          break;
      }
      map.push_back(static_cast<int64_t>(std::clamp(rounded, 0.0, last)));
    }
    return map;
  }

  Nearest nearest_;
  int64_t element_bytes_;
};

// The weights of both neighbours along one axis: int32 in units of 2^-11, or float32.
template <typename Weight>
struct WeightedAxis {
  std::vector<int64_t> low, high;
  std::vector<Weight> weight_low, weight_high;
};

constexpr int kWeightBits = 11;

template <typename Weight>
WeightedAxis<Weight> weighted(AxisMap map) {
  WeightedAxis<Weight> axis;
  for (double fraction : map.fraction) {
    if constexpr (std::is_same_v<Weight, float>) {
      const auto high = static_cast<float>(fraction);
      axis.weight_high.push_back(high);
      axis.weight_low.push_back(1.0f - high);
    } else {
      const auto high = static_cast<int32_t>(std::nearbyint(std::ldexp(fraction, kWeightBits)));
      axis.weight_high.push_back(high);
      axis.weight_low.push_back((1 << kWeightBits) - high);
    }
  }
  axis.low = std::move(map.low);
  axis.high = std::move(map.high);
  return axis;
}

// T: act_t or float. Weight: int32_t or float, also the type of the intermediate rows.
template <typename T, typename Weight>
class ResizeLinear final : public Resize {
 public:
  ResizeLinear(const NodeInfo& node, const OpContext& context)
      : Resize(node),
        kernel_(elementwise_s8::select(context.isa)),
        threads_(std::clamp(context.threads, 1, usable_cpus())) {
    if constexpr (kInt8) {
      zero_point_ = quant_of(node.input(0)).zero_point;
      clamp_ = full_clamp(node.output());
    }
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    const Shape& x = inputs[0];
    const Shape& y = outputs[0];
    if (y.elements() == 0) return make_empty_plan();
    Geometry g;
    g.images = x[0];
    g.height = x[1];
    g.width = x[2];
    g.channels = x[3];
    g.rows = weighted<Weight>(linear_map(x, y, 0));
    g.columns = weighted<Weight>(linear_map(x, y, 1));
    g.row_elements = y[2] * y[3];
    // Per part: two horizontally interpolated rows and, for int8, one of sums.
    g.row_stride = round_up<int64_t>(g.row_elements, 16) + 16;
    const int64_t scratch = checked_mul(checked_mul(3 * g.row_stride, sizeof(float), "resize rows"),
                                        threads_, "resize rows");
    const auto run = [this, g](const void* const* in, void* const* out, RunContext& context) {
      const T* from = x_.as<T>(in[0]);
      T* to = static_cast<T*>(out[0]);
      const int64_t items = g.images * static_cast<int64_t>(g.rows.low.size());
      // No more parts than there is scratch memory for.
      const int64_t grain = std::max(grain_for(2.0 * static_cast<double>(g.row_elements)),
                                     ceil_div<int64_t>(items, threads_));
      context.pool.parallel_for(items, grain, [&](int64_t begin, int64_t end, int part) {
        run_rows(g, from, to, begin, end,
                 static_cast<Weight*>(context.scratch) + part * 3 * g.row_stride);
      });
    };
    if constexpr (kInt8) {
      return make_kernel_plan(kernel_, run, static_cast<size_t>(scratch));
    } else {
      return make_plan(run, static_cast<size_t>(scratch));
    }
  }

 private:
  static constexpr bool kInt8 = std::is_same_v<T, act_t>;

  struct Geometry {
    int64_t images, height, width, channels;
    int64_t row_elements, row_stride;
    WeightedAxis<Weight> rows, columns;
  };

  // Output rows [begin, end), counted over all images. Interpolated rows are kept while the next
  // output row needs them again.
  void run_rows(const Geometry& g, const T* x, T* y, int64_t begin, int64_t end,
                Weight* scratch) const {
    const auto output_height = static_cast<int64_t>(g.rows.low.size());
    Weight* buffers[2] = {scratch, scratch + g.row_stride};
    int64_t held[2] = {-1, -1};
    for (int64_t item = begin; item < end; ++item) {
      const auto oy = static_cast<size_t>(item % output_height);
      const int64_t first_row = item / output_height * g.height;
      const int64_t low = first_row + g.rows.low[oy];
      const int64_t high = first_row + g.rows.high[oy];
      if (held[1] == low) {
        std::swap(buffers[0], buffers[1]);
        std::swap(held[0], held[1]);
      }
      if (held[0] != low) {
        interpolate_row(g, x + low * g.width * g.channels, buffers[0]);
        held[0] = low;
      }
      const Weight* bottom = buffers[0];
      if (high != low) {
        if (held[1] != high) {
          interpolate_row(g, x + high * g.width * g.channels, buffers[1]);
          held[1] = high;
        }
        bottom = buffers[1];
      }
      combine_rows(g, buffers[0], bottom, g.rows.weight_low[oy], g.rows.weight_high[oy],
                   scratch + 2 * g.row_stride, y + item * g.row_elements);
    }
  }

  void interpolate_row(const Geometry& g, const T* x, Weight* row) const {
    const int64_t channels = g.channels;
    for (size_t o = 0; o < g.columns.low.size(); ++o) {
      const T* left = x + g.columns.low[o] * channels;
      const T* right = x + g.columns.high[o] * channels;
      const Weight w0 = g.columns.weight_low[o];
      const Weight w1 = g.columns.weight_high[o];
      for (int64_t c = 0; c < channels; ++c) {
        row[c] = (static_cast<Weight>(left[c]) - zero_point_) * w0 +
                 (static_cast<Weight>(right[c]) - zero_point_) * w1;
      }
      row += channels;
    }
  }

  void combine_rows(const Geometry& g, const Weight* top, const Weight* bottom, Weight w0,
                    Weight w1, Weight* sums, T* y) const {
    if constexpr (kInt8) {
      // Dividing by 2^22 is exact, so quantizing the sums with that scale is the rule above.
      float* values = reinterpret_cast<float*>(sums);
      for (int64_t i = 0; i < g.row_elements; ++i) {
        values[i] = static_cast<float>(top[i] * w0 + bottom[i] * w1);
      }
      elementwise_s8::QuantizeArgs args;
      args.x = values;
      args.y = y;
      args.n = g.row_elements;
      args.scale = static_cast<float>(1 << (2 * kWeightBits));
      args.clamp = clamp_;
      kernel_.quantize(args);
    } else {
      for (int64_t i = 0; i < g.row_elements; ++i) y[i] = top[i] * w0 + bottom[i] * w1;
    }
  }

  const elementwise_s8::Kernel& kernel_;
  int threads_;
  Weight zero_point_ = 0;
  OutputClamp clamp_;
};

}  // namespace

std::unique_ptr<Op> make_resize(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  const std::string mode = node.attributes.get_string("mode", "nearest");
  if (mode == "nearest") return std::make_unique<ResizeNearest>(node);
  if (mode != "linear") {
    throw Error(ErrorCode::unsupported,
                "resize mode '" + mode + "' is unknown; expected nearest or linear");
  }
  if (expect_float_or_int8(node)) {
    return std::make_unique<ResizeLinear<act_t, int32_t>>(node, context);
  }
  return std::make_unique<ResizeLinear<float, float>>(node, context);
}

}  // namespace zeropoint
