#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ops/op_support.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

constexpr QuantParams kQuant{0.125f, kActOffset - 7};
const char* const kCoordinates[] = {"half_pixel", "pytorch_half_pixel", "asymmetric",
                                    "align_corners"};
const char* const kNearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};

// `length` is the output's before it is rounded down.
double coordinate(const std::string& name, int64_t o, int64_t in, int64_t out, double length,
                  double scale) {
  const auto i = static_cast<double>(o);
  if (name == "asymmetric") return i / scale;
  if (name == "align_corners") {
    return length == 1.0 ? 0.0 : i * static_cast<double>(in - 1) / (length - 1.0);
  }
  if (name == "pytorch_half_pixel" && out == 1) return 0.0;
  return (i + 0.5) / scale - 0.5;
}

struct ResizeCase {
  Shape x;
  std::vector<int64_t> sizes;
  std::vector<double> scales;
};

const std::vector<ResizeCase>& cases() {
  static const std::vector<ResizeCase> list = {
      {{1, 4, 4, 3}, {8, 8}, {}},      {{2, 5, 7, 19}, {10, 21}, {}},
      {{1, 9, 6, 2}, {4, 5}, {}},      {{2, 3, 3, 64}, {1, 1}, {}},
      {{1, 1, 1, 5}, {4, 3}, {}},      {{1, 8, 8, 1}, {3, 17}, {}},
      {{1, 5, 4, 8}, {}, {2.0, 2.0}},  {{2, 7, 9, 3}, {}, {0.6, 1.7}},
      {{1, 30, 30, 16}, {60, 60}, {}}, {{0, 4, 4, 3}, {8, 8}, {}},
      {{1, 6, 6, 4}, {6, 6}, {}},
  };
  return list;
}

OpTest resize_test(const ResizeCase& c, const char* mode, const char* coordinates) {
  OpTest t("resize");
  t.text("mode", mode).text("coordinates", coordinates);
  if (!c.sizes.empty()) t.ints("sizes", c.sizes);
  if (!c.scales.empty()) t.attribute("scales", c.scales);
  return t;
}

// Output sides and scales of a case.
struct Target {
  int64_t size[2];
  double length[2];
  double scale[2];
};

Target target_of(const ResizeCase& c) {
  Target t;
  for (int a = 0; a < 2; ++a) {
    const auto i = static_cast<size_t>(a);
    const auto in = static_cast<double>(c.x[a + 1]);
    t.size[a] = c.sizes.empty() ? static_cast<int64_t>(std::floor(in * c.scales[i])) : c.sizes[i];
    t.length[a] = c.sizes.empty() ? in * c.scales[i] : static_cast<double>(c.sizes[i]);
    t.scale[a] = c.sizes.empty() ? c.scales[i] : static_cast<double>(t.size[a]) / in;
  }
  return t;
}

TEST_CASE("resize nearest: every coordinate and rounding mode, any dtype") {
  INFO(test::seed_note());
  auto g = test::generator("resize nearest");
  int round = 0;
  for (const ResizeCase& c : cases()) {
    const Target target = target_of(c);
    for (const char* coordinates : kCoordinates) {
      for (const char* nearest : kNearest) {
        const DType dtype = round++ % 2 == 0 ? DType::s8 : round % 4 == 0 ? DType::f32 : DType::s64;
        const Tensor x = test::random_tensor(dtype, c.x, g, kQuant);
        const Tensor y = resize_test(c, "nearest", coordinates)
                             .text("nearest_mode", nearest)
                             .input(x)
                             .output(dtype, kQuant)
                             .run()[0];
        REQUIRE(y.shape == Shape{c.x[0], target.size[0], target.size[1], c.x[3]});
        const auto source = [&](int a, int64_t o) {
          const double p = coordinate(coordinates, o, c.x[a + 1], target.size[a], target.length[a],
                                      target.scale[a]);
          const double down = std::floor(p), part = p - down;
          const std::string n = nearest;
          double r = down;
          if (n == "ceil") r = std::ceil(p);
          if (n == "round_prefer_floor") r = part > 0.5 ? down + 1 : down;
          if (n == "round_prefer_ceil") r = part >= 0.5 ? down + 1 : down;
          return std::clamp<int64_t>(static_cast<int64_t>(r), 0, c.x[a + 1] - 1);
        };
        int64_t i = 0, wrong = 0;
        const auto bytes = static_cast<size_t>(dtype_size(dtype));
        test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
          const int64_t at =
              test::position(c.x, {index[0], source(0, index[1]), source(1, index[2]), index[3]});
          wrong += std::memcmp(y.bytes.data() + static_cast<size_t>(i++) * bytes,
                               x.bytes.data() + static_cast<size_t>(at) * bytes, bytes) != 0;
        });
        INFO(std::string(coordinates)
             << " " << std::string(nearest) << " from " << c.x.to_string());
        CHECK(wrong == 0);
      }
    }
  }
}

struct Neighbours {
  int64_t low, high;
  double part;
};

Neighbours neighbours(const ResizeCase& c, const Target& target, const char* coordinates, int a,
                      int64_t o) {
  const int64_t last = c.x[a + 1] - 1;
  const double p = std::clamp(
      coordinate(coordinates, o, c.x[a + 1], target.size[a], target.length[a], target.scale[a]),
      0.0, static_cast<double>(last));
  const auto low = static_cast<int64_t>(p);
  return {low, std::min(low + 1, last), p - static_cast<double>(low)};
}

TEST_CASE("resize linear: float32 and int8 equal the documented expressions") {
  INFO(test::seed_note());
  auto g = test::generator("resize linear");
  for (const ResizeCase& c : cases()) {
    const Target target = target_of(c);
    for (const char* coordinates : kCoordinates) {
      const Tensor xf = test::random_tensor(DType::f32, c.x, g);
      const Tensor x8 = test::random_tensor(DType::s8, c.x, g, kQuant);
      const Tensor yf = resize_test(c, "linear", coordinates).input(xf).output(DType::f32).run()[0];
      const Tensor y8 =
          resize_test(c, "linear", coordinates).input(x8).output(DType::s8, kQuant).run()[0];
      REQUIRE(yf.shape == Shape{c.x[0], target.size[0], target.size[1], c.x[3]});
      REQUIRE(y8.shape == yf.shape);
      const OutputClamp clamp{kQuant.zero_point, kActMin, kActMax};
      int64_t i = 0, wrong_f = 0, wrong_8 = 0;
      test::for_each_index(yf.shape, [&](const std::vector<int64_t>& index) {
        const Neighbours v = neighbours(c, target, coordinates, 0, index[1]);
        const Neighbours h = neighbours(c, target, coordinates, 1, index[2]);
        const auto at = [&](int64_t row, int64_t column) {
          return ((index[0] * c.x[1] + row) * c.x[2] + column) * c.x[3] + index[3];
        };
        const int64_t corners[4] = {at(v.low, h.low), at(v.low, h.high), at(v.high, h.low),
                                    at(v.high, h.high)};
        const auto wy = static_cast<float>(v.part), wx = static_cast<float>(h.part);
        const float top = xf.at<float>(corners[0]) * (1.0f - wx) + xf.at<float>(corners[1]) * wx;
        const float bottom = xf.at<float>(corners[2]) * (1.0f - wx) + xf.at<float>(corners[3]) * wx;
        wrong_f += yf.at<float>(i) != top * (1.0f - wy) + bottom * wy;

        const auto iy = static_cast<int32_t>(std::nearbyint(v.part * 2048.0));
        const auto ix = static_cast<int32_t>(std::nearbyint(h.part * 2048.0));
        const int32_t weights[4] = {(2048 - iy) * (2048 - ix), (2048 - iy) * ix, iy * (2048 - ix),
                                    iy * ix};
        int32_t sum = 0;
        for (int k = 0; k < 4; ++k) {
          sum += weights[k] * (x8.at<act_t>(corners[k]) - kQuant.zero_point);
        }
        const float scaled = static_cast<float>(sum) * std::ldexp(1.0f, -22);
        wrong_8 += y8.at<act_t>(i++) != round_clamp(scaled, clamp);
      });
      INFO(std::string(coordinates) << " from " << c.x.to_string());
      CHECK(wrong_f == 0);
      CHECK(wrong_8 == 0);
    }
  }
}

TEST_CASE("resize: bad nodes") {
  const auto base = [](const Shape& shape = {1, 4, 4, 3}) {
    OpTest t("resize");
    t.input(test::make_tensor(DType::f32, shape)).output(DType::f32);
    return t;
  };
  CHECK(base().ints("sizes", {2, 2}).error().empty());
  CHECK(test::contains(base().error(), "either 'sizes' or 'scales'"));
  CHECK(test::contains(
      base().ints("sizes", {2, 2}).attribute("scales", std::vector<double>{1, 1}).error(),
      "either 'sizes' or 'scales'"));
  CHECK(test::contains(base().ints("sizes", {2}).error(), "'sizes' has 1 values, expected 2"));
  CHECK(test::contains(base().ints("sizes", {2, 0}).error(), "side of 0 pixels"));
  CHECK(test::contains(base().ints("sizes", {2, INT64_MAX}).error(), "pixels was asked for"));
  for (double scale : {0.0, -1.0, static_cast<double>(NAN), HUGE_VAL}) {
    CHECK(test::contains(base().attribute("scales", std::vector<double>{1, scale}).error(),
                         "finite number > 0"));
  }
  CHECK(test::contains(base().attribute("scales", std::vector<double>{1, 0.1}).error(),
                       "side of 0 pixels"));
  CHECK(test::contains(base().attribute("scales", std::vector<double>{1e300, 1}).error(),
                       "pixels was asked for"));
  CHECK(test::contains(base().ints("sizes", {2, 2}).text("mode", "cubic").error(),
                       "'cubic' is unknown"));
  CHECK(test::contains(base().ints("sizes", {2, 2}).text("coordinates", "tf").error(),
                       "expected one of half_pixel"));
  CHECK(test::contains(base().ints("sizes", {2, 2}).text("nearest_mode", "x").error(),
                       "expected one of round_prefer_floor"));
  CHECK(test::contains(base({4, 4, 3}).ints("sizes", {2, 2}).error(), "[N, H, W, C]"));
  CHECK(test::contains(base({1, 0, 4, 3}).ints("sizes", {2, 2}).error(), "cannot be resized"));
  CHECK(test::contains(OpTest("resize")
                           .text("mode", "linear")
                           .ints("sizes", {2, 2})
                           .input(test::make_tensor(DType::s32, {1, 4, 4, 3}))
                           .output(DType::s32)
                           .error(),
                       "no int32 form"));
  CHECK(test::contains(OpTest("resize")
                           .ints("sizes", {2, 2})
                           .input(test::make_tensor(DType::s8, {1, 4, 4, 3}, kQuant))
                           .output(DType::s8, {1.0f, kActOffset})
                           .error(),
                       "must have the same scale"));
}

}  // namespace
}  // namespace zeropoint
