// Every elementwise_f32 kernel against the scalar oracle, to the bit; and the functions themselves
// against the math library in double, within stated bounds.
#include "kernels/elementwise_f32/elementwise_f32.h"

#include <algorithm>
#include <functional>

#include "kernels/float_support.h"
#include "reference/f32.h"

namespace zeropoint {
namespace {

using elementwise_f32::Binary;
using elementwise_f32::Kernel;
using elementwise_f32::Unary;
using test::Buffer;

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Named {
  Unary function;
  const char* name;
  float alpha, beta;
};
const Named kUnary[] = {
    {Unary::abs, "abs", 0, 0},
    {Unary::clip, "clip", -0.5f, 2.0f},
    {Unary::elu, "elu", 1.3f, 0},
    {Unary::erf, "erf", 0, 0},
    {Unary::exp, "exp", 0, 0},
    {Unary::gelu, "gelu", 0, 0},
    {Unary::gelu_tanh, "gelu_tanh", 0, 0},
    {Unary::hard_sigmoid, "hard_sigmoid", 0.2f, 0.5f},
    {Unary::hard_swish, "hard_swish", 0, 0},
    {Unary::leaky_relu, "leaky_relu", 0.01f, 0},
    {Unary::log, "log", 0, 0},
    {Unary::mish, "mish", 0, 0},
    {Unary::neg, "neg", 0, 0},
    {Unary::pow, "pow 3", 3.0f, 0},
    {Unary::pow, "pow -6", -6.0f, 0},
    {Unary::pow, "pow 0", 0.0f, 0},
    {Unary::pow, "pow 0.5", 0.5f, 0},
    {Unary::pow, "pow -0.5", -0.5f, 0},
    {Unary::pow, "pow 1.7", 1.7f, 0},
    {Unary::relu, "relu", 0, 0},
    {Unary::sigmoid, "sigmoid", 0, 0},
    {Unary::silu, "silu", 0, 0},
    {Unary::softplus, "softplus", 0, 0},
    {Unary::sqrt, "sqrt", 0, 0},
    {Unary::tanh, "tanh", 0, 0},
};
const int64_t kLengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 100, 257};

template <typename Body>
void for_each_kernel(const Body& body) {
  INFO(test::seed_note());
  std::set<Isa> exercised;
  for (const Kernel& kernel : elementwise_f32::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    CAPTURE(kernel.name);
    body(kernel);
    exercised.insert(kernel.isa);
  }
  test::require_all_levels("elementwise_f32", exercised);
}

elementwise_f32::UnaryArgs unary_args(const Named& f, const float* x, float* y, int64_t n) {
  elementwise_f32::UnaryArgs args;
  args.function = f.function;
  args.alpha = f.alpha;
  args.beta = f.beta;
  args.x = x;
  args.y = y;
  args.n = n;
  return args;
}

// One value through a function of the best kernel of this CPU.
float evaluate(Unary function, float x, float alpha = 1.0f) {
  float y = 0.0f;
  elementwise_f32::UnaryArgs args = unary_args({function, "", alpha, 0.0f}, &x, &y, 1);
  elementwise_f32::select(isa_mask(detected_isa_levels().back())).unary(args);
  return y;
}

// Distance in units in the last place of `exact` rounded to float32 (denormals share one unit).
double ulps(float y, double exact) {
  if (std::isnan(exact)) return std::isnan(y) ? 0.0 : kInf;
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(y)) {
    // Within half a unit of the overflow threshold either answer is right.
    return y == rounded || std::fabs(exact) / 3.4028235677973366e38 > 0.9999999 ? 0.0 : kInf;
  }
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::fabs(static_cast<double>(y) - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

}  // namespace

TEST_CASE("elementwise_f32: unary functions, all lengths, any value, in place") {
  std::mt19937_64 g = test::generator("elementwise_f32 unary");
  for_each_kernel([&](const Kernel& kernel) {
    for (const Named& f : kUnary) {
      CAPTURE(f.name);
      for (int64_t n : kLengths) {
        CAPTURE(n);
        Buffer<float> x(static_cast<size_t>(n) + 1), y(x.size(), 777.0f),
            expected(x.size(), 777.0f);
        if (n % 2 == 0) {
          test::fill_any(x, g);
        } else {
          test::fill_uniform(x, g, 12.0f);
        }
        reference::run_unary_f32(unary_args(f, x.data(), expected.data(), n));
        kernel.unary(unary_args(f, x.data(), y.data(), n));
        CHECK(test::first_difference(y, expected) == -1);
        x[static_cast<size_t>(n)] = 777.0f;
        kernel.unary(unary_args(f, x.data(), x.data(), n));
        CHECK(test::first_difference(x, expected) == -1);
      }
      Buffer<float> x(1 << 15), y(x.size()), expected(x.size());
      test::fill_any(x, g);
      const int64_t n = static_cast<int64_t>(x.size());
      reference::run_unary_f32(unary_args(f, x.data(), expected.data(), n));
      kernel.unary(unary_args(f, x.data(), y.data(), n));
      CHECK(test::first_difference(y, expected) == -1);
    }
  });
}

TEST_CASE("elementwise_f32: binary functions, steps, clips, in place") {
  std::mt19937_64 g = test::generator("elementwise_f32 binary");
  for_each_kernel([&](const Kernel& kernel) {
    for (Binary function :
         {Binary::add, Binary::sub, Binary::mul, Binary::div, Binary::max, Binary::min}) {
      for (int steps = 0; steps < 4; ++steps) {
        for (int64_t n : kLengths) {
          CAPTURE(static_cast<int>(function));
          CAPTURE(steps);
          CAPTURE(n);
          Buffer<float> a(static_cast<size_t>(n) + 1), b(a.size()), y(a.size(), 777.0f),
              expected(a.size(), 777.0f);
          test::fill_any(a, g);
          test::fill_any(b, g);
          elementwise_f32::BinaryArgs args;
          args.a = a.data();
          args.b = b.data();
          args.a_step = steps & 1;
          args.b_step = steps >> 1;
          args.n = n;
          args.lo = n % 3 == 0 ? -1.0f : -kInf;
          args.hi = n % 3 == 0 ? 1.5f : kInf;
          args.y = expected.data();
          reference::run_binary_f32(function, args);
          args.y = y.data();
          kernel.binary(function, args);
          CHECK(test::first_difference(y, expected) == -1);
          Buffer<float>& over = args.a_step ? a : b;
          over[static_cast<size_t>(n)] = 777.0f;
          if (args.a_step || args.b_step) {
            args.y = over.data();
            kernel.binary(function, args);
            CHECK(test::first_difference(over, expected) == -1);
          }
        }
      }
    }
  });
}

TEST_CASE("elementwise_f32: prelu") {
  std::mt19937_64 g = test::generator("elementwise_f32 prelu");
  for_each_kernel([&](const Kernel& kernel) {
    for (int64_t n : kLengths) {
      for (int step : {0, 1}) {
        CAPTURE(n);
        CAPTURE(step);
        Buffer<float> x(static_cast<size_t>(n) + 1), slope(x.size()), y(x.size(), 777.0f),
            expected(x.size(), 777.0f);
        test::fill_any(x, g);
        test::fill_uniform(slope, g);
        elementwise_f32::PreluArgs args;
        args.x = x.data();
        args.slope = slope.data();
        args.slope_step = step;
        args.n = n;
        args.y = expected.data();
        reference::run_prelu_f32(args);
        args.y = y.data();
        kernel.prelu(args);
        CHECK(test::first_difference(y, expected) == -1);
      }
    }
  });
}

TEST_CASE("elementwise_f32: softmax rows, in place too") {
  std::mt19937_64 g = test::generator("elementwise_f32 softmax");
  for_each_kernel([&](const Kernel& kernel) {
    for (int64_t n : {1, 2, 15, 16, 17, 31, 32, 33, 100, 1000, 4099}) {
      for (int kind = 0; kind < 3; ++kind) {
        CAPTURE(n);
        CAPTURE(kind);
        Buffer<float> x(static_cast<size_t>(n)), y(x.size()), expected(x.size());
        test::fill_uniform(x, g, kind == 0 ? 5.0f : 200.0f);
        if (kind == 2) x[static_cast<size_t>(test::uniform(g, 0, n - 1))] = std::nanf("");
        elementwise_f32::SoftmaxArgs args{x.data(), expected.data(), n};
        reference::run_softmax_f32(args);
        args.y = y.data();
        kernel.softmax(args);
        CHECK(test::first_difference(y, expected) == -1);
        double sum = 0.0;
        for (size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(y[i]);
        CHECK((kind == 2 ? std::isnan(sum) : std::fabs(sum - 1.0) < 1e-5));
        args.y = x.data();
        kernel.softmax(args);
        CHECK(test::first_difference(x, expected) == -1);
      }
    }
  });
}

TEST_CASE("elementwise_f32: int8 softmax rows") {
  std::mt19937_64 g = test::generator("elementwise_f32 softmax_s8");
  for_each_kernel([&](const Kernel& kernel) {
    for (int64_t n : {1, 2, 15, 16, 17, 33, 255, 256, 257, 1000, 4099}) {
      for (float scale : {0.003f, 0.1f, 2.0f}) {
        CAPTURE(n);
        CAPTURE(scale);
        Buffer<float> table(256);
        for (int d = 0; d < 256; ++d) {
          table[static_cast<size_t>(d)] =
              static_cast<float>(std::exp(-static_cast<double>(scale) * d));
        }
        Buffer<act_t> x(static_cast<size_t>(n)), y(x.size()), expected(x.size());
        test::fill_random(x, g, kActMin, kActMax);
        elementwise_f32::SoftmaxS8Args args;
        args.x = x.data();
        args.table = table.data();
        args.n = n;
        args.scale_y = 1.0f / 256.0f;
        args.clamp.zero_point =
            n % 2 == 0 ? kActMin : static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
        args.clamp.qmin = static_cast<int32_t>(test::uniform(g, kActMin, kActMin + 20));
        args.clamp.qmax = static_cast<int32_t>(test::uniform(g, kActMin + 100, kActMax));
        args.y = expected.data();
        reference::run_softmax_s8(args);
        args.y = y.data();
        kernel.softmax_s8(args);
        CHECK(std::equal(y.data(), y.data() + n, expected.data()));
        args.y = x.data();
        kernel.softmax_s8(args);
        CHECK(std::equal(x.data(), x.data() + n, expected.data()));
      }
    }
  });
}

TEST_CASE("elementwise_f32: accuracy against the math library in double") {
  struct Bound {
    Unary function;
    const char* name;
    double max_ulps;      // of the exact result, or
    double max_absolute;  // this times max(1, |x|), where cancellation is in the formula
    double (*exact)(double);
  };
  const Bound bounds[] = {
      {Unary::exp, "exp", 1.0, 0, [](double x) { return std::exp(x); }},
      {Unary::log, "log", 1.0, 0, [](double x) { return std::log(x); }},
      {Unary::tanh, "tanh", 1.5, 0, [](double x) { return std::tanh(x); }},
      {Unary::erf, "erf", 1.5, 0, [](double x) { return std::erf(x); }},
      {Unary::sqrt, "sqrt", 0.5, 0, [](double x) { return std::sqrt(x); }},
      {Unary::sigmoid, "sigmoid", 2.5, 0, [](double x) { return 1.0 / (1.0 + std::exp(-x)); }},
      {Unary::softplus, "softplus", 2.5, 0,
       [](double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }},
      {Unary::elu, "elu", 1.5, 0, [](double x) { return x < 0.0 ? std::expm1(x) : x; }},
      {Unary::silu, "silu", 0, 2e-7, [](double x) { return x / (1.0 + std::exp(-x)); }},
      {Unary::mish, "mish", 0, 2e-7,
       [](double x) {
         return x * std::tanh(std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))));
       }},
      {Unary::gelu, "gelu", 0, 2e-7,
       [](double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752440); }},
      {Unary::gelu_tanh, "gelu_tanh", 0, 2e-7,
       [](double x) {
         return 0.5 * x * (1.0 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
       }},
      {Unary::hard_swish, "hard_swish", 0, 2e-7,
       [](double x) { return x * std::fmin(std::fmax(x / 6.0 + 0.5, 0.0), 1.0); }},
  };
  const Kernel& kernel = elementwise_f32::select(isa_mask(detected_isa_levels().back()));
  // Every 4099th float32 pattern, then a dense run over the values that networks see.
  std::vector<float> points;
  for (uint64_t u = 0; u < (uint64_t{1} << 32); u += 16411) {
    const float x = test::from_bits(static_cast<uint32_t>(u));
    if (std::isfinite(x)) points.push_back(x);
  }
  for (int i = -110000; i <= 110000; ++i) points.push_back(static_cast<float>(i) * 1e-3f);
  Buffer<float> x(points.size()), y(points.size());
  std::copy(points.begin(), points.end(), x.data());
  for (const Bound& bound : bounds) {
    kernel.unary(unary_args({bound.function, bound.name, 1.0f, 0.0f}, x.data(), y.data(),
                            static_cast<int64_t>(x.size())));
    double worst = 0.0;
    float where = 0.0f;
    for (size_t i = 0; i < x.size(); ++i) {
      const double in = static_cast<double>(x[i]), exact = bound.exact(in);
      double error = 0.0;
      if (bound.max_ulps > 0.0) {
        error = ulps(y[i], exact);
      } else if (std::fabs(in) < 1e30) {
        error = std::fabs(static_cast<double>(y[i]) - exact) / std::fmax(1.0, std::fabs(in));
      }
      if (!(error <= worst)) {
        worst = error;
        where = x[i];
      }
    }
    CAPTURE(bound.name);
    CAPTURE(where);
    CHECK(worst <= (bound.max_ulps > 0.0 ? bound.max_ulps : bound.max_absolute));
  }
}

TEST_CASE("elementwise_f32: values at the ends") {
  const float nan = std::nanf("");
  for (Unary f :
       {Unary::abs, Unary::elu, Unary::erf, Unary::exp, Unary::gelu, Unary::gelu_tanh,
        Unary::hard_swish, Unary::leaky_relu, Unary::log, Unary::mish, Unary::neg, Unary::relu,
        Unary::sigmoid, Unary::silu, Unary::softplus, Unary::sqrt, Unary::tanh}) {
    CAPTURE(static_cast<int>(f));
    CHECK(std::isnan(evaluate(f, nan)));
  }
  CHECK(evaluate(Unary::exp, 0.0f) == 1.0f);
  CHECK(evaluate(Unary::exp, kInf) == kInf);
  CHECK(evaluate(Unary::exp, 88.7228394f) == kInf);
  CHECK(evaluate(Unary::exp, 88.7228317f) < kInf);
  CHECK(evaluate(Unary::exp, -103.0f) == 1.4e-45f);  // a denormal
  CHECK(evaluate(Unary::exp, -104.0f) == 0.0f);
  CHECK(evaluate(Unary::exp, -kInf) == 0.0f);
  CHECK(evaluate(Unary::log, 1.0f) == 0.0f);
  CHECK(evaluate(Unary::log, 0.0f) == -kInf);
  CHECK(evaluate(Unary::log, -0.0f) == -kInf);
  CHECK(evaluate(Unary::log, kInf) == kInf);
  CHECK(std::isnan(evaluate(Unary::log, -1.0f)));
  CHECK(std::isnan(evaluate(Unary::log, -kInf)));
  CHECK(std::isnan(evaluate(Unary::log, -1e-45f)));
  CHECK(std::isnan(evaluate(Unary::sqrt, -1.0f)));
  for (Unary f : {Unary::tanh, Unary::erf}) {
    CHECK(evaluate(f, kInf) == 1.0f);
    CHECK(evaluate(f, -kInf) == -1.0f);
    CHECK(evaluate(f, 10.0f) == 1.0f);
    CHECK(evaluate(f, -10.0f) == -1.0f);
    CHECK(test::same_bits(evaluate(f, -0.0f), -0.0f));
  }
  CHECK(evaluate(Unary::sigmoid, kInf) == 1.0f);
  CHECK(evaluate(Unary::sigmoid, -kInf) == 0.0f);
  CHECK(evaluate(Unary::sigmoid, -100.0f) > 0.0f);
  CHECK(evaluate(Unary::softplus, 1e38f) == 1e38f);
  CHECK(evaluate(Unary::softplus, kInf) == kInf);
  CHECK(evaluate(Unary::softplus, -kInf) == 0.0f);
  CHECK(evaluate(Unary::mish, 1e38f) == 1e38f);
  CHECK(evaluate(Unary::mish, -1e4f) == 0.0f);
  CHECK(evaluate(Unary::elu, -kInf) == -1.0f);
  CHECK(evaluate(Unary::elu, -1e-10f) == -1e-10f);
  CHECK(evaluate(Unary::silu, -1e38f) == 0.0f);
  CHECK(evaluate(Unary::gelu, 1e38f) == 1e38f);
}

TEST_CASE("elementwise_f32: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    CHECK(elementwise_f32::select(isa_mask(level.isa)).isa <= level.isa);
  }
}

}  // namespace zeropoint
