// matmul of int8 activations, matmul_integer, conv_integer, dynamic_quantize, dynamic_linear,
// layer_norm and cast, each against textbook loops on every ISA level.
#include <cmath>
#include <limits>

#include "ops/op_support.h"
#include "quant/dynamic.h"
#include "quant/reduce_f32.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::random_tensor;
using test::Tensor;
using test::uniform;

constexpr QuantParams kPlain{1.0f, kActOffset};

// sum_k (a[m][k] - zero_a) * (b[k][n] - zero_b) for each matrix, broadcast over leading axes.
std::vector<int64_t> products(const Tensor& a, const Tensor& b, const Shape& y,
                              const std::function<int64_t(int64_t)>& zero_a,
                              const std::function<int64_t(int64_t)>& zero_b) {
  const int64_t k = a.shape.back();
  std::vector<int64_t> sums;
  test::for_each_index(y, [&](const std::vector<int64_t>& index) {
    const int64_t m = index[index.size() - 2], n = index.back();
    std::vector<int64_t> at_a = index, at_b = index;
    int64_t sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      at_a.back() = i;
      at_b[at_b.size() - 2] = i;
      sum += (a.at<act_t>(test::position(a.shape, at_a)) - zero_a(m)) *
             (b.at<act_t>(test::position(b.shape, at_b)) - zero_b(n));
    }
    sums.push_back(sum);
  });
  return sums;
}

TEST_CASE("matmul int8: random shapes, zero points and outputs") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("matmul int8");
  for (int round = 0; round < 60; ++round) {
    const int64_t m = uniform(g, 1, 30), k = uniform(g, 1, 70), n = uniform(g, 1, 70);
    Shape sa{m, k}, sb{k, n}, sy{m, n};
    if (round % 3 == 0) {
      sa = {2, 1, m, k};
      sb = {3, k, n};
      sy = {2, 3, m, n};
    }
    QuantParams qa = test::random_quant(g), qb = test::random_quant(g), qy = test::random_quant(g);
    if (round % 2 == 0) qb.zero_point = kActOffset;  // gemm_s8 alone
    qy.scale = qa.scale * qb.scale * 3000.0f;
    const Tensor a = random_tensor(DType::s8, sa, g, qa), b = random_tensor(DType::s8, sb, g, qb);
    const bool raw = round % 5 == 0, constant = round % 4 == 1;
    INFO("matmul " << sa.to_string() << " x " << sb.to_string() << ", zero points " << qa.zero_point
                   << " and " << qb.zero_point << (raw ? ", raw" : ""));
    OpTest t("matmul");
    t.input(a);
    if (constant) {
      t.constant(b);
    } else {
      t.input(b);
    }
    t.output(raw ? DType::s32 : DType::s8, qy);
    OutputClamp clamp{qy.zero_point, kActMin, kActMax};
    if (!raw && round % 7 == 0) {
      t.integer("qmin", -20).integer("qmax", 100);
      clamp.qmin = -20 + kActOffset;
      clamp.qmax = 100 + kActOffset;
    }
    const Tensor y = t.run()[0];
    REQUIRE(y.shape == sy);
    const auto sums = products(
        a, b, sy, [&](int64_t) { return qa.zero_point; }, [&](int64_t) { return qb.zero_point; });
    const float multiplier = requantize_multiplier(qa.scale, qb.scale, qy.scale);
    int64_t wrong = 0;
    for (size_t i = 0; i < sums.size(); ++i) {
      const auto at = static_cast<int64_t>(i), sum = sums[i];
      wrong += raw ? y.at<int32_t>(at) != sum
                   : y.at<act_t>(at) != requantize(static_cast<int32_t>(sum), multiplier, clamp);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("matmul_integer: zero points that are values, one or one a row and column") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("matmul_integer");
  for (int round = 0; round < 40; ++round) {
    const int64_t m = uniform(g, 2, 30), k = uniform(g, 1, 70), n = uniform(g, 2, 70);
    const Tensor a = random_tensor(DType::s8, {3, m, k}, g, kPlain);
    const Tensor b = random_tensor(DType::s8, {k, n}, g, kPlain);
    const Shape za_shape = round % 3 == 0 ? Shape{} : round % 3 == 1 ? Shape{1} : Shape{m};
    const Shape zb_shape = round % 4 == 0 ? Shape{} : round % 4 == 1 ? Shape{1} : Shape{n};
    const Tensor za = random_tensor(DType::s8, za_shape, g, kPlain);
    const Tensor zb = random_tensor(DType::s8, zb_shape, g, kPlain);
    const bool with_a = round % 5 != 0, with_b = round % 7 != 0;
    OpTest t("matmul_integer");
    t.input(a);
    if (round % 2 == 0) {
      t.input(b);
    } else {
      t.constant(b);
    }
    if (with_a) {
      t.input(za);
    } else {
      t.no_input();
    }
    if (with_b && round % 8 == 3) {
      t.constant(zb);
    } else if (with_b) {
      t.input(zb);
    }
    t.output(DType::s32);
    const Tensor y = t.run()[0];
    const auto zero = [](const Tensor& z, bool present, int64_t i) -> int64_t {
      return present ? z.at<act_t>(z.elements() == 1 ? 0 : i) : kActOffset;
    };
    const auto sums = products(
        a, b, {3, m, n}, [&](int64_t i) { return zero(za, with_a, i); },
        [&](int64_t i) { return zero(zb, with_b, i); });
    int64_t wrong = 0;
    for (size_t i = 0; i < sums.size(); ++i) {
      wrong += y.at<int32_t>(static_cast<int64_t>(i)) != sums[i];
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("matmul int8: what is refused") {
  const Tensor a = test::make_tensor(DType::s8, {2, 3}, kPlain);
  const Tensor b = test::make_tensor(DType::s8, {3, 2}, kPlain);
  const auto error = [](const OpTest& t) { return t.error(); };
  CHECK(test::contains(error(OpTest("matmul").input(a).input(a).output(DType::s8, kPlain)),
                       "cannot multiply [2, 3] by [2, 3]"));
  CHECK(test::contains(error(OpTest("matmul").input(a).input(b).output(DType::f32)),
                       "expected int8"));
  CHECK(test::contains(
      error(OpTest("matmul").input(a).input(b).output(DType::s32).integer("qmin", 0)),
      "raw accumulators"));
  OpTest unquantized("matmul");
  unquantized.input(a).input(b).output(DType::s8, kPlain);
  unquantized.value(1).quantized = false;
  CHECK(test::contains(unquantized.error(), "no scale and zero point"));
  const Tensor long_a = test::make_tensor(DType::s8, {1, 33026}, kPlain);
  const Tensor long_b = test::make_tensor(DType::s8, {33026, 1}, kPlain);
  CHECK(
      test::contains(error(OpTest("matmul_integer").input(long_a).input(long_b).output(DType::s32)),
                     "at most 33025"));
  CHECK(test::contains(error(OpTest("matmul_integer")
                                 .input(a)
                                 .input(b)
                                 .input(test::make_tensor(DType::s8, {3}, kPlain))
                                 .output(DType::s32)),
                       "the zero points of the left side have the shape [3]"));
}

TEST_CASE("conv_integer: padding holds the zero point of run time") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("conv_integer");
  for (int round = 0; round < 30; ++round) {
    const int64_t groups = round % 3 == 0 ? 3 : 1, depth = uniform(g, 1, 20);
    const int64_t out = groups * uniform(g, 1, 20), kernel = uniform(g, 1, 3);
    const int64_t height = uniform(g, 3, 8), width = uniform(g, 3, 8);
    const Tensor x = random_tensor(DType::s8, {2, height, width, groups * depth}, g, kPlain);
    const Tensor w = random_tensor(DType::s8, {out, kernel, kernel, depth}, g, kPlain);
    const Tensor zx = random_tensor(DType::s8, {}, g, kPlain);
    const Tensor zw = random_tensor(DType::s8, round % 2 == 0 ? Shape{} : Shape{out}, g, kPlain);
    const bool with_w = round % 4 != 0;
    OpTest t("conv_integer");
    t.input(x).constant(w).input(zx);
    if (with_w) t.constant(zw);
    t.integer("groups", groups).ints("pads", {1, 0, 2, 1}).ints("strides", {1, 2});
    t.output(DType::s32);
    const Tensor y = t.run()[0];
    int64_t wrong = 0, at = 0;
    test::for_each_index(y.shape, [&](const std::vector<int64_t>& i) {
      const int64_t o = i[3], group = o / (out / groups);
      const int64_t zero_w = !with_w              ? kActOffset
                             : zw.elements() == 1 ? zw.at<act_t>(0)
                                                  : zw.at<act_t>(o);
      int64_t sum = 0;
      for (int64_t ky = 0; ky < kernel; ++ky) {
        for (int64_t kx = 0; kx < kernel; ++kx) {
          const int64_t iy = i[1] - 1 + ky, ix = i[2] * 2 + kx;
          if (iy < 0 || iy >= height || ix >= width) continue;
          for (int64_t c = 0; c < depth; ++c) {
            const int64_t a =
                x.at<act_t>(test::position(x.shape, {i[0], iy, ix, group * depth + c}));
            const int64_t b = w.at<act_t>(test::position(w.shape, {o, ky, kx, c}));
            sum += (a - zx.at<act_t>(0)) * (b - zero_w);
          }
        }
      }
      wrong += y.at<int32_t>(at++) != sum;
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("dynamic_quantize and dynamic_linear") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("dynamic");
  for (int round = 0; round < 30; ++round) {
    const int64_t m = uniform(g, 1, 60), k = uniform(g, 1, 90), n = uniform(g, 1, 70);
    const Tensor x = random_tensor(DType::f32, {m, k}, g);
    float lo = 0.0f, hi = 0.0f;
    for (int64_t i = 0; i < m * k; ++i) {
      lo = std::min(lo, x.at<float>(i));
      hi = std::max(hi, x.at<float>(i));
    }
    const QuantParams params = dynamic_params(lo, hi);
    const OutputClamp clamp{params.zero_point, kActMin, kActMax};

    const auto q = OpTest("dynamic_quantize")
                       .input(x)
                       .output(DType::s8)
                       .output(DType::f32)
                       .output(DType::s8)
                       .run();
    CHECK(q[1].at<float>(0) == params.scale);
    CHECK(q[2].at<act_t>(0) == params.zero_point);
    int64_t wrong = 0;
    for (int64_t i = 0; i < m * k; ++i) {
      wrong += q[0].at<act_t>(i) != quantize(x.at<float>(i), params.scale, clamp);
    }
    CHECK(wrong == 0);

    QuantParams qw = test::random_quant(g);
    if (round % 2 == 0) qw.zero_point = kActOffset;
    const Tensor w = random_tensor(DType::s8, {n, k}, g, qw);
    const Tensor bias = random_tensor(DType::f32, {n}, g);
    OpTest t("dynamic_linear");
    t.input(x).constant(w);
    if (round % 3 != 0) t.constant(bias);
    const Tensor y = t.output(DType::f32).run()[0];
    const float multiplier = params.scale * qw.scale;
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        int64_t sum = 0;
        for (int64_t i = 0; i < k; ++i) {
          sum += int64_t{q[0].at<act_t>(r * k + i) - params.zero_point} *
                 (w.at<act_t>(c * k + i) - qw.zero_point);
        }
        const volatile float product = static_cast<float>(sum) * multiplier;
        wrong += y.at<float>(r * n + c) != (round % 3 != 0 ? product + bias.at<float>(c) : product);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("dynamic_linear: what is refused") {
  const Tensor x = test::make_tensor(DType::f32, {2, 3});
  const Tensor w = test::make_tensor(DType::s8, {4, 3}, kPlain);
  const auto error = [](const OpTest& t) { return t.error(); };
  CHECK(error(OpTest("dynamic_linear").input(x).constant(w).output(DType::f32)).empty());
  CHECK(test::contains(error(OpTest("dynamic_linear").input(x).input(w).output(DType::f32)),
                       "must be an int8 constant [N, K]"));
  CHECK(test::contains(error(OpTest("dynamic_linear")
                                 .input(test::make_tensor(DType::f32, {2, 5}))
                                 .constant(w)
                                 .output(DType::f32)),
                       "3 elements along its last axis"));
  CHECK(test::contains(error(OpTest("dynamic_linear")
                                 .input(x)
                                 .constant(w)
                                 .constant(test::make_tensor(DType::f32, {3}))
                                 .output(DType::f32)),
                       "float32 constant of 4 elements"));
}

TEST_CASE("layer_norm: axes and threads") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("layer_norm");
  for (const int64_t axis : {-1, 0, 1, 2}) {
    const Tensor x = random_tensor(DType::f32, {40, 3, 50}, g);
    Shape row;
    for (auto i = static_cast<int>(axis < 0 ? 2 : axis); i < 3; ++i) row.push_back(x.shape[i]);
    const Tensor scale = random_tensor(DType::f32, row, g),
                 bias = random_tensor(DType::f32, row, g);
    const Tensor y = OpTest("layer_norm")
                         .input(x)
                         .constant(scale)
                         .input(bias)
                         .integer("axis", axis)
                         .output(DType::f32)
                         .run()[0];
    const int64_t n = row.elements();
    int64_t wrong = 0;
    for (int64_t r = 0; r < x.elements() / n; ++r) {
      const float* from = x.data<float>() + r * n;
      const float mean = sum_f32(from, n) / static_cast<float>(n);
      std::vector<float> squares;
      for (int64_t i = 0; i < n; ++i) squares.push_back((from[i] - mean) * (from[i] - mean));
      const float variance = sum_f32(squares.data(), n) / static_cast<float>(n);
      const float factor = 1.0f / std::sqrt(variance + 1e-5f);
      for (int64_t i = 0; i < n; ++i) {
        const volatile float scaled = ((from[i] - mean) * factor) * scale.at<float>(i);
        wrong += y.at<float>(r * n + i) != scaled + bias.at<float>(i);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("cast: toward zero, saturating") {
  Tensor x = test::make_tensor(DType::f32, {8});
  const float values[] = {1.9f, -1.9f, 3e9f, -3e9f, 2147483648.0f, std::nanf(""), 1e30f, -1e30f};
  std::memcpy(x.bytes.data(), values, sizeof(values));
  const Tensor narrow = OpTest("cast").input(x).output(DType::s32).run()[0];
  const Tensor wide = OpTest("cast").input(x).text("to", "int64").output(DType::s64).run()[0];
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  const int32_t expected[] = {1, -1, kMax, -kMax - 1, kMax, 0, kMax, -kMax - 1};
  for (int64_t i = 0; i < 8; ++i) CHECK(narrow.at<int32_t>(i) == expected[i]);
  CHECK(wide.at<int64_t>(2) == 3000000000);
  CHECK(wide.at<int64_t>(6) == std::numeric_limits<int64_t>::max());
  CHECK(test::contains(OpTest("cast").input(x).output(DType::s8).error(), "cannot cast"));
  CHECK(test::contains(OpTest("cast").input(x).text("to", "int64").output(DType::s32).error(),
                       "casts to 'int64'"));
}

}  // namespace
}  // namespace zeropoint
