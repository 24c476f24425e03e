// max_pool2d, avg_pool2d, global_max_pool and reduce_mean.
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "ops/op_support.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

struct PoolCase {
  Shape x;
  std::vector<int64_t> kernel, strides, pads, dilations;
};

const std::vector<PoolCase>& pool_cases() {
  static const std::vector<PoolCase> list = {
      {{1, 1, 1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {{2, 12, 11, 64}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}},
      {{1, 9, 9, 3}, {2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}},
      {{3, 8, 7, 17}, {3, 2}, {1, 2}, {2, 0, 1, 1}, {1, 1}},
      {{1, 10, 10, 33}, {2, 3}, {1, 1}, {1, 2, 0, 1}, {3, 2}},
      {{2, 7, 7, 130}, {7, 7}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {{1, 40, 40, 8}, {5, 5}, {1, 1}, {2, 2, 2, 2}, {1, 1}},
      {{0, 4, 4, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
      {{1, 4, 4, 0}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}},
  };
  return list;
}

OpTest pool_test(const char* op, const PoolCase& c) {
  OpTest t(op);
  t.ints("kernel", c.kernel).ints("strides", c.strides);
  t.ints("pads", c.pads).ints("dilations", c.dilations);
  return t;
}

// Calls f with the input positions of a window's taps, in order; -1 for padding.
void for_each_tap(const PoolCase& c, const std::vector<int64_t>& out,
                  const std::function<void(int64_t)>& f) {
  for (int64_t ky = 0; ky < c.kernel[0]; ++ky) {
    for (int64_t kx = 0; kx < c.kernel[1]; ++kx) {
      const int64_t y = out[1] * c.strides[0] + ky * c.dilations[0] - c.pads[0];
      const int64_t x = out[2] * c.strides[1] + kx * c.dilations[1] - c.pads[1];
      const bool inside = y >= 0 && y < c.x[1] && x >= 0 && x < c.x[2];
      f(inside ? ((out[0] * c.x[1] + y) * c.x[2] + x) * c.x[3] + out[3] : -1);
    }
  }
}

TEST_CASE("pooling: max of int8 and float32") {
  INFO(test::seed_note());
  auto g = test::generator("max pool");
  for (const PoolCase& c : pool_cases()) {
    const QuantParams q = test::random_quant(g);
    const Tensor x8 = test::random_tensor(DType::s8, c.x, g, q);
    const Tensor xf = test::random_tensor(DType::f32, c.x, g);
    OpTest t8 = pool_test("max_pool2d", c), tf = pool_test("max_pool2d", c);
    const Tensor y8 = t8.input(x8).output(DType::s8, q).run()[0];
    const Tensor yf = tf.input(xf).output(DType::f32).run()[0];
    int64_t i = 0, wrong = 0;
    test::for_each_index(y8.shape, [&](const std::vector<int64_t>& index) {
      int best8 = kActMin;
      float bestf = -std::numeric_limits<float>::infinity();
      for_each_tap(c, index, [&](int64_t at) {
        if (at < 0) return;
        best8 = std::max<int>(best8, x8.at<act_t>(at));
        bestf = std::max(bestf, xf.at<float>(at));
      });
      wrong += y8.at<act_t>(i) != best8;
      wrong += yf.at<float>(i++) != bestf;
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("pooling: mean of int8 and float32, with and without the padding") {
  INFO(test::seed_note());
  auto g = test::generator("avg pool");
  for (const PoolCase& c : pool_cases()) {
    for (int64_t include : {0, 1}) {
      const QuantParams qx = test::random_quant(g), qy = test::random_quant(g);
      const Tensor x8 = test::random_tensor(DType::s8, c.x, g, qx);
      const Tensor xf = test::random_tensor(DType::f32, c.x, g);
      OpTest t8 = pool_test("avg_pool2d", c), tf = pool_test("avg_pool2d", c);
      t8.integer("count_include_pad", include).input(x8).output(DType::s8, qy);
      tf.integer("count_include_pad", include).input(xf).output(DType::f32);
      const Tensor y8 = t8.run()[0], yf = tf.run()[0];
      const OutputClamp clamp{qy.zero_point, kActMin, kActMax};
      int64_t i = 0, wrong = 0;
      test::for_each_index(y8.shape, [&](const std::vector<int64_t>& index) {
        int32_t sum8 = 0;
        float sumf = 0.0f;
        int64_t count = 0;
        for_each_tap(c, index, [&](int64_t at) {
          count += include == 1 || at >= 0;
          if (at < 0) return;
          sum8 += x8.at<act_t>(at) - qx.zero_point;
          sumf += xf.at<float>(at);
        });
        const float inverse = 1.0f / static_cast<float>(count);
        wrong += y8.at<act_t>(i) != requantize(sum8, qx.scale * inverse / qy.scale, clamp);
        wrong += yf.at<float>(i++) != sumf * inverse;
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("pooling: bad nodes") {
  const QuantParams q{0.5f, kActOffset};
  const Tensor f = test::make_tensor(DType::f32, {1, 5, 5, 2});
  const Tensor x = test::make_tensor(DType::s8, {1, 5, 5, 2}, q);
  const auto pool = [&](const char* op) {
    OpTest t(op);
    t.input(f).output(DType::f32);
    return t;
  };
  CHECK(test::contains(pool("max_pool2d").error(), "'kernel' is missing"));
  CHECK(test::contains(pool("max_pool2d").ints("kernel", {0, 2}).error(),
                       "'kernel' has the value 0"));
  CHECK(test::contains(pool("max_pool2d").ints("kernel", {6, 2}).error(), "height (6"));
  CHECK(test::contains(pool("max_pool2d").ints("kernel", {2, 2}).ints("pads", {2, 0, 0, 0}).error(),
                       "wholly in the padding"));
  CHECK(test::contains(pool("avg_pool2d").ints("kernel", {2, 2}).ints("pads", {0, 0, 0, 2}).error(),
                       "wholly in the padding"));
  CHECK(pool("avg_pool2d")
            .ints("kernel", {2, 2})
            .ints("pads", {0, 0, 0, 2})
            .integer("count_include_pad", 1)
            .error()
            .empty());
  CHECK(test::contains(
      pool("avg_pool2d").ints("kernel", {2, 2}).integer("count_include_pad", 2).error(),
      "expected 0 or 1"));
  CHECK(test::contains(pool("max_pool2d")
                           .ints("kernel", {1 << 20, 1 << 20})
                           .ints("pads", {1 << 20, 0, 0, 0})
                           .error(),
                       "too large"));
  CHECK(test::contains(OpTest("max_pool2d")
                           .input(x)
                           .output(DType::s8, {0.25f, kActOffset})
                           .ints("kernel", {2, 2})
                           .error(),
                       "must have the same scale"));
  CHECK(test::contains(OpTest("max_pool2d")
                           .input(test::make_tensor(DType::f32, {5, 5, 2}))
                           .output(DType::f32)
                           .ints("kernel", {2, 2})
                           .error(),
                       "[N, H, W, C]"));
  CHECK(test::contains(
      OpTest("avg_pool2d").input(x).output(DType::f32).ints("kernel", {2, 2}).error(),
      "keeps the dtype"));
  CHECK(test::contains(OpTest("global_max_pool")
                           .input(test::make_tensor(DType::f32, {5, 2}))
                           .output(DType::f32)
                           .error(),
                       "at least 3 dimensions"));
  CHECK(test::contains(OpTest("global_max_pool")
                           .input(test::make_tensor(DType::f32, {1, 0, 2}))
                           .output(DType::f32)
                           .error(),
                       "maximum over no element"));
}

TEST_CASE("global_max_pool: every rank") {
  INFO(test::seed_note());
  auto g = test::generator("global max");
  for (const Shape& shape : {Shape{2, 9, 5}, Shape{2, 7, 7, 130}, Shape{1, 3, 4, 5, 600},
                             Shape{3, 1, 1, 1}, Shape{0, 2, 2}}) {
    const QuantParams q = test::random_quant(g);
    const Tensor x8 = test::random_tensor(DType::s8, shape, g, q);
    const Tensor xf = test::random_tensor(DType::f32, shape, g);
    const Tensor y8 = OpTest("global_max_pool").input(x8).output(DType::s8, q).run()[0];
    const Tensor yf = OpTest("global_max_pool").input(xf).output(DType::f32).run()[0];
    const int64_t channels = shape.back(), count = shape.elements(1, shape.rank() - 1);
    int64_t wrong = 0;
    for (int64_t i = 0; i < y8.elements(); ++i) {
      const int64_t first = i / channels * count * channels + i % channels;
      int best8 = kActMin;
      float bestf = -1e30f;
      for (int64_t t = 0; t < count; ++t) {
        best8 = std::max<int>(best8, x8.at<act_t>(first + t * channels));
        bestf = std::max(bestf, xf.at<float>(first + t * channels));
      }
      wrong += y8.at<act_t>(i) != best8 || yf.at<float>(i) != bestf;
    }
    CHECK(wrong == 0);
    CHECK(y8.shape.rank() == shape.rank());
    CHECK(y8.elements() == shape[0] * channels);
  }
}

struct MeanCase {
  Shape x;
  std::vector<int64_t> axes;
};

TEST_CASE("reduce_mean: any axes, int8 and float32") {
  INFO(test::seed_note());
  auto g = test::generator("reduce mean");
  const std::vector<MeanCase> cases = {
      {{2, 7, 7, 130}, {1, 2}},
      {{3, 50}, {1}},
      {{20, 33}, {1}},
      {{3, 50}, {0}},
      {{2, 3, 4, 5}, {0, 2}},
      {{2, 3, 4, 5}, {1, 3}},
      {{2, 3, 4, 5}, {0, 3}},
      {{2, 3, 4, 5}, {0, 1, 2, 3}},
      {{2, 3, 4, 5}, {-1, -3}},
      {{4, 6}, {}},
      {{2, 1, 3, 1, 4}, {1, 3}},
      {{1, 5, 1, 600}, {1}},
      {{2, 3, 2, 3, 2, 3}, {1, 2, 4}},
      {{0, 3}, {1}},
      {{1, 100, 100, 3}, {1, 2}},
      {{5, 1, 4}, {0, 2}},
  };
  for (const MeanCase& c : cases) {
    for (int64_t keepdims : {0, 1}) {
      const QuantParams qx = test::random_quant(g), qy = test::random_quant(g);
      const Tensor x8 = test::random_tensor(DType::s8, c.x, g, qx);
      const Tensor xf = test::random_tensor(DType::f32, c.x, g);
      OpTest t8("reduce_mean"), tf("reduce_mean");
      for (OpTest* t : {&t8, &tf}) {
        if (!c.axes.empty()) t->ints("axes", c.axes);
        t->integer("keepdims", keepdims);
      }
      const Tensor y8 = t8.input(x8).output(DType::s8, qy).run()[0];
      const Tensor yf = tf.input(xf).output(DType::f32).run()[0];
      INFO("shape " << c.x.to_string() << " keepdims " << keepdims);

      std::vector<bool> reduced(static_cast<size_t>(c.x.rank()), false);
      int64_t count = 1;
      for (int64_t axis : c.axes) {
        const auto a = static_cast<size_t>(axis < 0 ? axis + c.x.rank() : axis);
        reduced[a] = true;
        count *= c.x[static_cast<int>(a)];
      }
      Shape kept;
      for (int i = 0; i < c.x.rank(); ++i) {
        if (!reduced[static_cast<size_t>(i)]) kept.push_back(c.x[i]);
        if (reduced[static_cast<size_t>(i)] && keepdims) kept.push_back(1);
      }
      REQUIRE(y8.shape == kept);
      // Sums by output position, in row-major order of the input.
      std::map<std::vector<int64_t>, std::pair<int64_t, float>> sums;
      int64_t i = 0;
      test::for_each_index(c.x, [&](const std::vector<int64_t>& index) {
        std::vector<int64_t> key;
        for (size_t a = 0; a < index.size(); ++a) {
          if (!reduced[a]) key.push_back(index[a]);
        }
        auto& sum = sums[key];
        sum.first += x8.at<act_t>(i) - qx.zero_point;
        sum.second += xf.at<float>(i++);
      });
      const OutputClamp clamp{qy.zero_point, kActMin, kActMax};
      const float inverse = 1.0f / static_cast<float>(count);
      int64_t o = 0, wrong = 0;
      for (const auto& [key, sum] : sums) {
        wrong += y8.at<act_t>(o) !=
                 requantize(static_cast<int32_t>(sum.first), qx.scale * inverse / qy.scale, clamp);
        wrong += yf.at<float>(o++) != sum.second * inverse;
      }
      CHECK(o == y8.elements());
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("reduce_mean: bad nodes") {
  const auto error = [](const Shape& shape, std::vector<int64_t> axes) {
    return OpTest("reduce_mean")
        .ints("axes", std::move(axes))
        .input(test::make_tensor(DType::f32, shape))
        .output(DType::f32)
        .error();
  };
  CHECK(error({2, 3}, {1}).empty());
  CHECK(test::contains(error({2, 3}, {2}), "axis 2 does not exist"));
  CHECK(test::contains(error({2, 3}, {INT64_MIN}), "does not exist"));
  CHECK(test::contains(error({2, 3}, {1, -1}), "listed twice"));
  CHECK(test::contains(error({2, 0}, {1}), "mean over no element"));
}

}  // namespace
}  // namespace zeropoint
