#include "kernels/elementwise_s8/elementwise_s8.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "reference/elementwise.h"
#include "support.h"

namespace zeropoint {
namespace {

// Memory as a caller owns it: exactly n elements, so that a sanitizer sees any access beyond.
template <typename T>
std::unique_ptr<T[]> owned(int64_t n) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(n)]());
}

const int64_t kLengths[] = {0,  1,  2,  7,  8,  9,  15, 16,  17,  31,  32,
                            33, 47, 63, 64, 65, 95, 96, 127, 128, 129, 1000};

OutputClamp random_clamp(std::mt19937_64& g) {
  OutputClamp clamp;
  clamp.zero_point = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
  if (test::uniform(g, 0, 1) == 0) {
    clamp.qmin = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
    clamp.qmax = static_cast<int32_t>(test::uniform(g, clamp.qmin, kActMax));
  }
  return clamp;
}

std::vector<act_t> random_run(std::mt19937_64& g, int64_t n) {
  std::vector<act_t> run(static_cast<size_t>(n));
  for (act_t& v : run) v = static_cast<act_t>(test::uniform(g, kActMin, kActMax));
  return run;
}

// Runs `function` of each kernel and compares its output bytes with `expected`.
template <typename Function, typename Args, typename T>
std::set<Isa> check_kernels(Function function, Args args, const T* expected, const char* what) {
  std::set<Isa> exercised;
  for (const elementwise_s8::Kernel& kernel : elementwise_s8::kernels()) {
    if (!test::runs_here(kernel.isa)) continue;
    exercised.insert(kernel.isa);
    auto y = owned<T>(args.n);
    args.y = y.get();
    (kernel.*function)(args);
    INFO(test::seed_note() << ", kernel " << kernel.name << ", " << what << ", n " << args.n);
    CHECK(std::memcmp(y.get(), expected, static_cast<size_t>(args.n) * sizeof(T)) == 0);
  }
  return exercised;
}

// add and mul of each kernel, into a new buffer and in place.
std::set<Isa> check_binary(std::mt19937_64& g, elementwise_s8::BinaryArgs args) {
  using elementwise_s8::Kernel;
  const auto length = [&](int step) { return step == 1 ? args.n : 1; };
  auto a = owned<act_t>(length(args.a_step));
  auto b = owned<act_t>(length(args.b_step));
  const auto fill = [&](act_t* p, int64_t n) {
    for (int64_t i = 0; i < n; ++i) p[i] = static_cast<act_t>(test::uniform(g, kActMin, kActMax));
  };
  fill(a.get(), length(args.a_step));
  fill(b.get(), length(args.b_step));
  args.a = a.get();
  args.b = b.get();
  auto sum = owned<act_t>(args.n);
  auto product = owned<act_t>(args.n);
  args.y = sum.get();
  reference::add(args);
  args.y = product.get();
  reference::mul(args);
  auto exercised = check_kernels(&Kernel::add, args, sum.get(), "add");
  check_kernels(&Kernel::mul, args, product.get(), "mul");

  if (args.a_step == 1) {
    for (const Kernel& kernel : elementwise_s8::kernels()) {
      if (!test::runs_here(kernel.isa)) continue;
      INFO(test::seed_note() << ", kernel " << kernel.name << ", in place, n " << args.n);
      auto y = owned<act_t>(args.n);
      const auto bytes = static_cast<size_t>(args.n);
      args.a = args.y = y.get();
      std::memcpy(y.get(), a.get(), bytes);
      kernel.add(args);
      CHECK(std::memcmp(y.get(), sum.get(), bytes) == 0);
      std::memcpy(y.get(), a.get(), bytes);
      kernel.mul(args);
      CHECK(std::memcmp(y.get(), product.get(), bytes) == 0);
    }
  }
  return exercised;
}

TEST_CASE("elementwise_s8: add and mul, every length, step and clamp") {
  auto g = test::generator("elementwise binary");
  std::set<Isa> exercised;
  for (int64_t n : kLengths) {
    for (int steps = 0; steps < 4; ++steps) {
      for (int round = 0; round < 4; ++round) {
        elementwise_s8::BinaryArgs args;
        args.a_step = steps & 1;
        args.b_step = steps >> 1;
        args.n = n;
        args.zero_a = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
        args.zero_b = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
        // Round 0 has multipliers of 1/2 and 1/4: most sums then are halves or near them.
        args.multiplier_a =
            round == 0 ? 0.5f : static_cast<float>(test::uniform(g, 1, 2000)) * 1e-3f;
        args.multiplier_b =
            round == 0 ? -0.25f : static_cast<float>(test::uniform(g, -2000, 2000)) * 1e-3f;
        args.clamp = random_clamp(g);
        exercised.merge(check_binary(g, args));
      }
    }
  }
  test::require_all_levels("elementwise_s8", exercised);
}

TEST_CASE("elementwise_s8: add and mul with extreme multipliers") {
  auto g = test::generator("elementwise extremes");
  // 3e38 makes infinities of both signs, and so NaNs in sums: these count as 0.
  for (float ma : {3e38f, 1e30f, 1e-30f, 1e-44f, 0.0f}) {
    for (float mb : {3e38f, -3e38f, 1e-44f, 1.0f}) {
      elementwise_s8::BinaryArgs args;
      args.n = 300;
      args.zero_a = 100 - 128 + kActOffset;
      args.zero_b = 150 - 128 + kActOffset;
      args.multiplier_a = ma;
      args.multiplier_b = mb;
      for (int round = 0; round < 3; ++round) {
        args.clamp = random_clamp(g);
        check_binary(g, args);
      }
    }
  }
}

TEST_CASE("elementwise_s8: add and mul on all 65536 pairs") {
  auto g = test::generator("elementwise pairs");
  std::vector<act_t> a, b;
  for (int i = kActMin; i <= kActMax; ++i) {
    for (int j = kActMin; j <= kActMax; ++j) {
      a.push_back(static_cast<act_t>(i));
      b.push_back(static_cast<act_t>(j));
    }
  }
  for (int round = 0; round < 4; ++round) {
    elementwise_s8::BinaryArgs args;
    args.a = a.data();
    args.b = b.data();
    args.n = static_cast<int64_t>(a.size());
    args.zero_a = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
    args.zero_b = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
    args.multiplier_a = round == 0 ? 0.5f : static_cast<float>(test::uniform(g, 1, 900)) * 1e-3f;
    args.multiplier_b = round == 0 ? 1.0f : static_cast<float>(test::uniform(g, 1, 900)) * 1e-3f;
    args.clamp = random_clamp(g);
    std::vector<act_t> expected(a.size());
    args.y = expected.data();
    reference::add(args);
    check_kernels(&elementwise_s8::Kernel::add, args, expected.data(), "add of all pairs");
    reference::mul(args);
    check_kernels(&elementwise_s8::Kernel::mul, args, expected.data(), "mul of all pairs");
  }
}

TEST_CASE("elementwise_s8: lookup") {
  auto g = test::generator("elementwise lookup");
  std::vector<act_t> table = random_run(g, 256);
  std::vector<act_t> all;
  for (int i = kActMin; i <= kActMax; ++i) all.push_back(static_cast<act_t>(i));
  const auto check = [&](const act_t* x, int64_t n) {
    elementwise_s8::LookupArgs args;
    args.x = x;
    args.table = table.data();
    args.n = n;
    auto expected = owned<act_t>(n);
    args.y = expected.get();
    reference::lookup(args);
    check_kernels(&elementwise_s8::Kernel::lookup, args, expected.get(), "lookup");
  };
  check(all.data(), 256);
  for (int64_t n : kLengths) {
    auto x = owned<act_t>(n);
    for (int64_t i = 0; i < n; ++i) {
      x[static_cast<size_t>(i)] = static_cast<act_t>(test::uniform(g, kActMin, kActMax));
    }
    check(x.get(), n);
  }
}

TEST_CASE("elementwise_s8: lookup in place") {
  auto g = test::generator("elementwise lookup in place");
  const std::vector<act_t> table = random_run(g, 256);
  const std::vector<act_t> x = random_run(g, 333);
  for (const elementwise_s8::Kernel& kernel : elementwise_s8::kernels()) {
    if (!test::runs_here(kernel.isa)) continue;
    std::vector<act_t> y = x;
    kernel.lookup({y.data(), table.data(), y.data(), 333});
    bool same = true;
    for (size_t i = 0; i < x.size(); ++i)
      same &= y[i] == table[static_cast<size_t>(x[i] - kActMin)];
    INFO(test::seed_note() << ", kernel " << kernel.name);
    CHECK(same);
  }
}

void check_quantize(const std::vector<float>& values, float scale, const OutputClamp& clamp) {
  elementwise_s8::QuantizeArgs args;
  args.n = static_cast<int64_t>(values.size());
  auto x = owned<float>(args.n);
  if (args.n > 0) std::memcpy(x.get(), values.data(), values.size() * sizeof(float));
  args.x = x.get();
  args.scale = scale;
  args.clamp = clamp;
  auto expected = owned<act_t>(args.n);
  args.y = expected.get();
  reference::quantize(args);
  check_kernels(&elementwise_s8::Kernel::quantize, args, expected.get(), "quantize");
}

TEST_CASE("elementwise_s8: quantize, lengths and clamps") {
  auto g = test::generator("elementwise quantize");
  for (int64_t n : kLengths) {
    std::vector<float> x(static_cast<size_t>(n));
    for (float& v : x) v = static_cast<float>(test::uniform(g, -400000, 400000)) * 1e-4f;
    check_quantize(x, static_cast<float>(test::uniform(g, 1, 5000)) * 1e-4f, random_clamp(g));
  }
}

TEST_CASE("elementwise_s8: quantize rounds exact halves to even") {
  auto g = test::generator("elementwise halves");
  const float scale = 0.25f;
  std::vector<float> x;
  for (int k = -300; k <= 300; ++k) {
    const float half = (static_cast<float>(k) + 0.5f) * scale;  // exact
    x.push_back(half);
    x.push_back(std::nextafter(half, 1e9f));
    x.push_back(std::nextafter(half, -1e9f));
  }
  for (int round = 0; round < 4; ++round) check_quantize(x, scale, random_clamp(g));
  // And by an independent rule for a few.
  for (const elementwise_s8::Kernel& kernel : elementwise_s8::kernels()) {
    if (!test::runs_here(kernel.isa)) continue;
    const float halves[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f};
    const int even[] = {0, 2, 2, 0, -2, -2};
    act_t y[6];
    kernel.quantize({halves, y, 6, 1.0f, OutputClamp{}});
    for (int i = 0; i < 6; ++i) CHECK(static_cast<int>(y[i]) - kActOffset == even[i]);
  }
}

TEST_CASE("elementwise_s8: quantize NaN, infinities, denormals, huge values; true division") {
  auto g = test::generator("elementwise specials");
  const float inf = std::numeric_limits<float>::infinity();
  const float denormal = std::numeric_limits<float>::denorm_min();
  std::vector<float> specials = {std::numeric_limits<float>::quiet_NaN(),
                                 -std::numeric_limits<float>::quiet_NaN(),
                                 inf,
                                 -inf,
                                 denormal,
                                 -denormal,
                                 1e-40f,
                                 0.0f,
                                 -0.0f,
                                 3e38f,
                                 -3e38f,
                                 2147483648.0f,
                                 -2147483648.0f,
                                 4294967296.0f,
                                 1e10f,
                                 -1e10f};
  std::vector<float> x;
  for (int i = 0; i < 150; ++i) {
    x.push_back(specials[static_cast<size_t>(
        test::uniform(g, 0, static_cast<int64_t>(specials.size()) - 1))]);
    x.push_back(static_cast<float>(test::uniform(g, -1000, 1000)) * 0.01f);
  }
  for (float scale : {1.0f, 0.1f, 1e-38f, 1e-45f, 3e38f}) {
    for (int round = 0; round < 6; ++round) check_quantize(x, scale, random_clamp(g));
  }
  // Quotients next to halves, where multiplying by a reciprocal would round the other way.
  for (int round = 0; round < 20; ++round) {
    const float scale = static_cast<float>(test::uniform(g, 1, 1000000)) * 1e-7f;
    std::vector<float> near;
    for (int k = -130; k <= 130; ++k) {
      float v = (static_cast<float>(k) + 0.5f) * scale;
      for (int step = 0; step < 3; ++step) {
        near.push_back(v);
        v = std::nextafter(v, -1e9f);
      }
    }
    check_quantize(near, scale, random_clamp(g));
  }
}

TEST_CASE("elementwise_s8: dequantize") {
  auto g = test::generator("elementwise dequantize");
  for (int64_t n : kLengths) {
    for (float scale : {1.0f, 0.0123f, 1e-44f, 3e38f}) {
      elementwise_s8::DequantizeArgs args;
      args.n = n;
      auto x = owned<act_t>(n);
      for (int64_t i = 0; i < n; ++i) {
        x[static_cast<size_t>(i)] = static_cast<act_t>(test::uniform(g, kActMin, kActMax));
      }
      args.x = x.get();
      args.params.scale = scale;
      args.params.zero_point = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
      auto expected = owned<float>(n);
      args.y = expected.get();
      reference::dequantize(args);
      check_kernels(&elementwise_s8::Kernel::dequantize, args, expected.get(), "dequantize");
    }
  }
}

TEST_CASE("elementwise_s8: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    CHECK(elementwise_s8::select(isa_mask(level.isa)).isa <= level.isa);
  }
}

}  // namespace
}  // namespace zeropoint
