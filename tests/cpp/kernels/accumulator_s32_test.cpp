// Every accumulator_s32 kernel against plain loops in 64-bit integers, to the bit.
#include "kernels/accumulator_s32/accumulator_s32.h"

#include <cmath>
#include <limits>

#include "kernels/float_support.h"
#include "quant/dynamic.h"

namespace zeropoint {
namespace {

namespace as = accumulator_s32;
using test::Buffer;

// Values as large as the bound allows.
struct Row {
  Buffer<int32_t> raw, columns, zero_b;
  as::Correction acc;

  Row(size_t n, bool corrected_a, bool corrected_b, std::mt19937_64& g)
      : raw(n), columns(n), zero_b(n) {
    const int64_t limit = int64_t{33025} * 128;
    test::fill_random(raw, g, -(int64_t{1} << 30), int64_t{1} << 30);
    test::fill_random(columns, g, -limit / 8, limit / 8);
    test::fill_random(zero_b, g, -128, 127);
    acc.raw = raw.data();
    acc.n = static_cast<int64_t>(n);
    if (corrected_a) {
      acc.zero_a = static_cast<int32_t>(test::uniform(g, 1, 255));
      acc.column_sums = columns.data();
    }
    if (corrected_b) {
      acc.row = static_cast<int32_t>(test::uniform(g, -limit / 2, limit / 2));
      acc.zero_b = zero_b.data();
    }
  }

  int32_t exact(size_t j) const {
    int64_t value = raw[j];
    if (acc.column_sums != nullptr) value -= int64_t{acc.zero_a} * columns[j];
    if (acc.zero_b != nullptr) value -= int64_t{acc.row} * zero_b[j];
    REQUIRE(value == static_cast<int32_t>(value));
    return static_cast<int32_t>(value);
  }
};

void check_row(const as::Kernel& kernel, size_t n, int form, std::mt19937_64& g) {
  CAPTURE(kernel.name);
  CAPTURE(n);
  CAPTURE(form);
  const Row row(n, (form & 1) != 0, (form & 2) != 0, g);
  Buffer<int32_t> corrected(n + 1, 77);
  kernel.correct(row.acc, corrected.data());
  CHECK(corrected[n] == 77);
  for (size_t j = 0; j < n; ++j) REQUIRE(corrected[j] == row.exact(j));

  as::RequantizeArgs requantized;
  requantized.acc = row.acc;
  requantized.multiplier = (form & 4) != 0 ? 3e-8f : 0.5f;  // ties, and values that saturate
  requantized.clamp = {static_cast<int32_t>(test::uniform(g, kActMin, kActMax)), kActMin + 10,
                       kActMax - 7};
  Buffer<act_t> q(n + 1, act_t{77});
  requantized.y = q.data();
  kernel.requantize(requantized);
  CHECK(q[n] == 77);
  for (size_t j = 0; j < n; ++j) {
    REQUIRE(q[j] == requantize(row.exact(j), requantized.multiplier, requantized.clamp));
  }

  Buffer<float> scales(n), bias(n), y(n + 1, 77.0f);
  test::fill_uniform(scales, g);
  test::fill_uniform(bias, g, 1000.0f);
  as::DequantizeArgs dequantized;
  dequantized.acc = row.acc;
  dequantized.scale_a = 0.37f;
  dequantized.scale_b = scales.data();
  dequantized.bias = (form & 4) != 0 ? bias.data() : nullptr;
  dequantized.y = y.data();
  kernel.dequantize(dequantized);
  CHECK(y[n] == 77.0f);
  for (size_t j = 0; j < n; ++j) {
    const volatile float multiplier = dequantized.scale_a * scales[j];
    const volatile float product = static_cast<float>(row.exact(j)) * multiplier;
    REQUIRE(test::same_bits(y[j], dequantized.bias ? product + bias[j] : product));
  }
}

void check_sums(const as::Kernel& kernel, size_t n, std::mt19937_64& g) {
  Buffer<act_t> x(n);
  Buffer<int8_t> w(n);
  test::fill_random(x, g, kActMin, kActMax);
  test::fill_random(w, g, -128, 127);
  int32_t sum_x = 0, sum_w = 0;
  for (size_t i = 0; i < n; ++i) {
    sum_x += x[i];
    sum_w += w[i];
  }
  CHECK(kernel.sum_activations(x.data(), static_cast<int64_t>(n)) == sum_x);
  CHECK(kernel.sum_weights(w.data(), static_cast<int64_t>(n)) == sum_w);

  Buffer<float> f(n);
  test::fill_any(f, g);
  float lo = 0.0f, hi = 0.0f;
  for (size_t i = 0; i < n; ++i) {
    if (f[i] < lo) lo = f[i];
    if (f[i] > hi) hi = f[i];
  }
  const as::Range range = kernel.range(f.data(), static_cast<int64_t>(n));
  CHECK(test::same_bits(range.lo, lo));
  CHECK(test::same_bits(range.hi, hi));
}

void check_transpose(const as::Kernel& kernel, int k, int n, std::mt19937_64& g) {
  CAPTURE(kernel.name);
  CAPTURE(k);
  CAPTURE(n);
  const int stride = n + 3;
  Buffer<act_t> x(static_cast<size_t>(k * stride));
  test::fill_random(x, g, kActMin, kActMax);
  const auto count = static_cast<size_t>(k * n);
  Buffer<int8_t> y(count + 1, int8_t{77});
  kernel.transpose(x.data(), stride, k, n, y.data());
  CHECK(y[count] == 77);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < k; ++i) {
      REQUIRE(y[static_cast<size_t>(j * k + i)] ==
              static_cast<int8_t>(x[static_cast<size_t>(i * stride + j)] - kActOffset));
    }
  }
}

}  // namespace

TEST_CASE("accumulator_s32: rows, sums, ranges and transposition at vector edges") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("accumulator_s32");
  std::set<Isa> exercised;
  for (const as::Kernel& kernel : as::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    exercised.insert(kernel.isa);
    for (const size_t n : {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 1000}) {
      for (int form = 0; form < 8; ++form) check_row(kernel, n, form, g);
      check_sums(kernel, n, g);
    }
    check_sums(kernel, 33025, g);
    for (const int k : {1, 3, 4, 5, 32, 33}) {
      for (const int n : {1, 15, 16, 17, 48, 50}) check_transpose(kernel, k, n, g);
    }
  }
  test::require_all_levels("accumulator_s32", exercised);
}

TEST_CASE("dynamic_params: ranges without width, of one sign, and beyond float32") {
  const float inf = std::numeric_limits<float>::infinity();
  const auto file_zero = [](const QuantParams& p) { return p.zero_point - kActMin; };
  CHECK(dynamic_params(0.0f, 0.0f).scale == 1.0f);
  CHECK(file_zero(dynamic_params(0.0f, 0.0f)) == 0);
  CHECK(dynamic_params(0.0f, 255.0f).scale == 1.0f);
  CHECK(file_zero(dynamic_params(0.0f, 255.0f)) == 0);
  CHECK(file_zero(dynamic_params(-255.0f, 0.0f)) == 255);
  CHECK(file_zero(dynamic_params(-127.5f, 127.5f)) == 128);  // a tie, to even
  CHECK(file_zero(dynamic_params(-126.5f, 128.5f)) == 126);
  CHECK(dynamic_params(-3e38f, 3e38f).scale == inf);
  CHECK(file_zero(dynamic_params(-3e38f, 3e38f)) == 0);
  CHECK(file_zero(dynamic_params(-inf, 1.0f)) == 0);
  CHECK(dynamic_params(0.0f, 1e-45f).scale == 0.0f);
  CHECK(file_zero(dynamic_params(0.0f, 1e-45f)) == 0);
  CHECK(file_zero(dynamic_params(-1e-45f, 0.0f)) == 255);
}

}  // namespace zeropoint
