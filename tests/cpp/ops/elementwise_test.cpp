// unary functions, prelu, lookup, quantize and dequantize.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "ops/op_support.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

double softplus(double x) { return std::log1p(std::exp(-std::fabs(x))) + std::max(x, 0.0); }
double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Function {
  const char* op;
  std::vector<std::pair<const char*, double>> attributes;
  std::function<double(double)> f;
};

const std::vector<Function>& functions() {
  static const std::vector<Function> list = {
      {"abs", {}, [](double x) { return std::fabs(x); }},
      {"clip", {}, [](double x) { return x; }},
      {"clip", {{"min", -0.5}}, [](double x) { return std::max(x, -0.5); }},
      {"clip", {{"min", 0.25}, {"max", 1.5}}, [](double x) { return std::clamp(x, 0.25, 1.5); }},
      {"elu", {}, [](double x) { return x < 0 ? std::expm1(x) : x; }},
      {"elu", {{"alpha", 2.0}}, [](double x) { return x < 0 ? 2.0 * std::expm1(x) : x; }},
      {"erf", {}, [](double x) { return std::erf(x); }},
      {"exp", {}, [](double x) { return std::exp(x); }},
      {"gelu", {}, [](double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }},
      {"gelu_tanh",
       {},
       [](double x) {
         return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
       }},
      {"hard_sigmoid", {}, [](double x) { return std::clamp(0.2 * x + 0.5, 0.0, 1.0); }},
      {"hard_sigmoid",
       {{"alpha", 0.5}, {"beta", 0.25}},
       [](double x) { return std::clamp(0.5 * x + 0.25, 0.0, 1.0); }},
      {"hard_swish", {}, [](double x) { return x * std::clamp(x / 6.0 + 0.5, 0.0, 1.0); }},
      {"leaky_relu", {}, [](double x) { return x < 0 ? 0.01 * x : x; }},
      {"leaky_relu", {{"alpha", 0.3}}, [](double x) { return x < 0 ? 0.3 * x : x; }},
      {"log", {}, [](double x) { return std::log(x); }},
      {"mish", {}, [](double x) { return x * std::tanh(softplus(x)); }},
      {"neg", {}, [](double x) { return -x; }},
      {"relu", {}, [](double x) { return std::max(x, 0.0); }},
      {"sigmoid", {}, sigmoid},
      {"silu", {}, [](double x) { return x * sigmoid(x); }},
      {"softplus", {}, softplus},
      {"sqrt", {}, [](double x) { return std::sqrt(x); }},
      {"tanh", {}, [](double x) { return std::tanh(x); }},
  };
  return list;
}

TEST_CASE("unary: each operator is the function of its name") {
  INFO(test::seed_note());
  auto g = test::generator("unary");
  for (const Function& function : functions()) {
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5, 67}, Shape{1, 20011}, Shape{0, 3}}) {
      const Tensor x = test::random_tensor(DType::f32, shape, g);
      OpTest t(function.op);
      t.input(x).output(DType::f32);
      for (const auto& [key, value] : function.attributes) t.real(key, value);
      const Tensor y = t.run()[0];
      INFO(std::string(function.op) << " " << shape.to_string());
      REQUIRE(y.shape == shape);
      int64_t wrong = 0;
      for (int64_t i = 0; i < y.elements(); ++i) {
        const double want = function.f(x.at<float>(i));
        const double got = y.at<float>(i);
        const bool close = std::isnan(want) ? std::isnan(got)
                                            : got == want || std::fabs(got - want) <=
                                                                 2e-6 * std::fabs(want) + 2e-6;
        wrong += !close;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("unary: bad nodes") {
  const Tensor f = test::make_tensor(DType::f32, {2});
  const Tensor q = test::make_tensor(DType::s8, {2}, {1.0f, kActOffset});
  CHECK(test::contains(OpTest("sigmoid").input(q).output(DType::s8).error(),
                       "'sigmoid' has no int8 form"));
  CHECK(test::contains(OpTest("relu").input(f).output(DType::s8).error(), "expected float32"));
  CHECK(test::contains(OpTest("clip").input(f).output(DType::f32).real("min", NAN).error(),
                       "'min' is not a number"));
  CHECK(test::contains(OpTest("elu").input(f).output(DType::f32).text("alpha", "x").error(),
                       "'alpha'"));
  CHECK(test::contains(OpTest("exp").output(DType::f32).error(), "0 inputs, expected 1"));
}

TEST_CASE("prelu: the slope broadcasts to the input") {
  INFO(test::seed_note());
  auto g = test::generator("prelu");
  const Shape x_shape{2, 9, 5, 11};
  for (const Shape& slope_shape :
       {Shape{}, Shape{1}, Shape{11}, Shape{5, 11}, Shape{9, 1, 1}, Shape{2, 9, 5, 11}}) {
    const Tensor x = test::random_tensor(DType::f32, x_shape, g);
    const Tensor slope = test::random_tensor(DType::f32, slope_shape, g);
    for (bool constant : {false, true}) {
      OpTest t("prelu");
      t.input(x);
      constant ? t.constant(slope) : t.input(slope);
      const Tensor y = t.output(DType::f32).run()[0];
      REQUIRE(y.shape == x_shape);
      int64_t i = 0, wrong = 0;
      test::for_each_index(x_shape, [&](const std::vector<int64_t>& index) {
        const float v = x.at<float>(i);
        const float s = slope.at<float>(test::position(slope_shape, index));
        wrong += !test::same_float(y.at<float>(i++), v < 0.0f ? s * v : v);
      });
      CHECK(wrong == 0);
    }
  }
  const auto error = [](const Shape& x, const Shape& slope) {
    return OpTest("prelu")
        .input(test::make_tensor(DType::f32, x))
        .input(test::make_tensor(DType::f32, slope))
        .output(DType::f32)
        .error();
  };
  CHECK(test::contains(error({1, 3}, {2, 3}), "slope's shape [2, 3] does not broadcast"));
  CHECK(test::contains(error({3}, {1, 3}), "does not broadcast"));
  CHECK(test::contains(error({3}, {2}), "cannot be broadcast"));
}

TEST_CASE("lookup: one table, and one for each channel") {
  INFO(test::seed_note());
  auto g = test::generator("lookup");
  for (int64_t channels : {0, 1, 3, 64, 130}) {
    for (const Shape& lead : {Shape{}, Shape{5}, Shape{2, 9, 7}, Shape{4001}}) {
      Shape shape = lead;
      shape.push_back(channels > 0 ? channels : 19);
      const Tensor x = test::random_tensor(DType::s8, shape, g, test::random_quant(g));
      const Tensor table = test::random_tensor(
          DType::s8, channels > 0 ? Shape{channels, 256} : Shape{256}, g, {1.0f, kActOffset});
      const Tensor y = OpTest("lookup")
                           .input(x)
                           .constant(table)
                           .output(DType::s8, test::random_quant(g))
                           .run()[0];
      REQUIRE(y.shape == shape);
      int64_t wrong = 0;
      for (int64_t i = 0; i < y.elements(); ++i) {
        // As the documentation says it: the int8 value + 128 is the index.
        const int64_t index = (x.at<act_t>(i) - kActOffset) + 128;
        const int64_t channel = channels > 0 ? i % channels : 0;
        wrong += y.at<act_t>(i) != table.at<act_t>(channel * 256 + index);
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("lookup: bad nodes") {
  const QuantParams q{1.0f, kActOffset};
  const Tensor x = test::make_tensor(DType::s8, {2, 3}, q);
  const auto error = [&](const Tensor& table) {
    return OpTest("lookup").input(x).constant(table).output(DType::s8, q).error();
  };
  CHECK(error(test::make_tensor(DType::s8, {256}, q)).empty());
  CHECK(error(test::make_tensor(DType::s8, {3, 256}, q)).empty());
  CHECK(
      test::contains(error(test::make_tensor(DType::s8, {255}, q)), "expected [256] or [C, 256]"));
  CHECK(test::contains(error(test::make_tensor(DType::s8, {256, 1}, q)), "[256, 1]"));
  CHECK(test::contains(error(test::make_tensor(DType::s8, {0, 256}, q)), "[0, 256]"));
  CHECK(test::contains(error(test::make_tensor(DType::s8, {}, q)), "[]"));
  CHECK(test::contains(error(test::make_tensor(DType::s8, {2, 256}, q)), "2 channels"));
  CHECK(test::contains(error(test::make_tensor(DType::f32, {256})), "expected int8"));
  CHECK(test::contains(OpTest("lookup")
                           .input(x)
                           .input(test::make_tensor(DType::s8, {256}, q))
                           .output(DType::s8, q)
                           .error(),
                       "not a constant"));
  CHECK(test::contains(OpTest("lookup")
                           .input(test::make_tensor(DType::f32, {2}))
                           .constant(test::make_tensor(DType::s8, {256}, q))
                           .output(DType::s8, q)
                           .error(),
                       "expected int8"));
}

TEST_CASE("quantize and dequantize equal the normative arithmetic") {
  INFO(test::seed_note());
  auto g = test::generator("quantize");
  for (const Shape& shape : {Shape{}, Shape{33}, Shape{2, 7, 5, 3}, Shape{100003}, Shape{0}}) {
    const QuantParams q = test::random_quant(g);
    Tensor x = test::random_tensor(DType::f32, shape, g);
    if (x.elements() > 10) {
      x.data<float>()[1] = std::numeric_limits<float>::infinity();
      x.data<float>()[2] = -std::numeric_limits<float>::infinity();
      x.data<float>()[3] = NAN;
      x.data<float>()[4] = 1e30f;
    }
    const Tensor y = OpTest("quantize").input(x).output(DType::s8, q).run()[0];
    const OutputClamp clamp{q.zero_point, kActMin, kActMax};
    int64_t wrong = 0;
    for (int64_t i = 0; i < y.elements(); ++i) {
      wrong += y.at<act_t>(i) != quantize(x.at<float>(i), q.scale, clamp);
    }
    Tensor back = y;
    back.quant = q;
    const Tensor z = OpTest("dequantize").input(back).output(DType::f32).run()[0];
    const Tensor c = OpTest("dequantize").constant(back).output(DType::f32).run()[0];
    for (int64_t i = 0; i < z.elements(); ++i) {
      wrong += z.at<float>(i) != dequantize(y.at<act_t>(i), q);
    }
    CHECK(wrong == 0);
    CHECK(z.bytes == c.bytes);
  }
  const Tensor f = test::make_tensor(DType::f32, {2});
  CHECK(test::contains(OpTest("quantize").input(f).output(DType::f32).error(), "expected int8"));
  CHECK(test::contains(OpTest("quantize").input(f).output(DType::s8, {-1.0f, kActOffset}).error(),
                       "> 0"));
  CHECK(test::contains(OpTest("dequantize").input(f).output(DType::f32).error(), "expected int8"));
}

}  // namespace
}  // namespace zeropoint
