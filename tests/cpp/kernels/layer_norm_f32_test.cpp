// Every layer_norm_f32 kernel against the contract written as scalar steps, to the bit.
#include "kernels/layer_norm_f32/layer_norm_f32.h"

#include <cmath>

#include "kernels/float_support.h"
#include "quant/reduce_f32.h"

namespace zeropoint {
namespace {

namespace ln = layer_norm_f32;
using test::Buffer;

void oracle(const ln::RunArgs& args, float* y) {
  std::vector<float> d(static_cast<size_t>(args.n)), squares(d.size());
  const float mean = sum_f32(args.x, args.n) / static_cast<float>(args.n);
  for (size_t i = 0; i < d.size(); ++i) {
    d[i] = args.x[i] - mean;
    squares[i] = d[i] * d[i];
  }
  const float variance = sum_f32(squares.data(), args.n) / static_cast<float>(args.n);
  const float factor = 1.0f / std::sqrt(variance + args.epsilon);
  for (size_t i = 0; i < d.size(); ++i) {
    const volatile float unit = d[i] * factor;
    const volatile float scaled = unit * args.scale[i];
    y[i] = args.bias != nullptr ? scaled + args.bias[i] : scaled;
  }
}

void check(const ln::Kernel& kernel, size_t n, bool with_bias, bool any_value, std::mt19937_64& g) {
  CAPTURE(kernel.name);
  CAPTURE(n);
  Buffer<float> x(n), scale(n), bias(n), y(n + 1, 77.0f), expected(n + 1, 77.0f);
  for (Buffer<float>* b : {&x, &scale, &bias}) {
    if (any_value) {
      test::fill_any(*b, g);
    } else {
      test::fill_uniform(*b, g, 10.0f);
    }
  }
  ln::RunArgs args;
  args.x = x.data();
  args.scale = scale.data();
  args.bias = with_bias ? bias.data() : nullptr;
  args.n = static_cast<int64_t>(n);
  args.epsilon = 1e-6f;
  oracle(args, expected.data());
  args.y = y.data();
  kernel.run(args);
  CHECK(test::first_difference(y, expected) == -1);
  for (size_t i = 0; i < n; ++i) y[i] = x[i];
  args.x = args.y;  // in place
  kernel.run(args);
  CHECK(test::first_difference(y, expected) == -1);
}

}  // namespace

TEST_CASE("layer_norm_f32: vector edges, any value, in place") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("layer_norm_f32");
  std::set<Isa> exercised;
  for (const ln::Kernel& kernel : ln::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    exercised.insert(kernel.isa);
    for (const size_t n : {1, 2, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 384, 1000}) {
      for (const bool with_bias : {false, true}) {
        check(kernel, n, with_bias, false, g);
        check(kernel, n, with_bias, true, g);
      }
    }
  }
  test::require_all_levels("layer_norm_f32", exercised);
}

}  // namespace zeropoint
