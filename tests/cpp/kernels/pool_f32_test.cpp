// Every pool_f32 kernel against the oracle, to the bit.
#include "kernels/pool_f32/pool_f32.h"

#include "kernels/float_support.h"
#include "reference/f32.h"

namespace zeropoint {
namespace {

using test::Buffer;

void check(const pool_f32::Kernel& kernel, int channels, int taps, bool any_value,
           std::mt19937_64& g) {
  CAPTURE(kernel.name);
  CAPTURE(channels);
  CAPTURE(taps);
  const int pixels = 6, inputs = 11, stride = channels + 2;
  Buffer<float> x(static_cast<size_t>(inputs * channels)), multiplier(pixels);
  if (any_value) {
    test::fill_any(x, g);
  } else {
    test::fill_uniform(x, g);
  }
  std::vector<int32_t> offsets;
  for (int p = 0; p < pixels; ++p) {
    int counted = 0;
    for (int t = 0; t < taps; ++t) {
      const int64_t pixel = test::uniform(g, -1, inputs - 1);
      offsets.push_back(pixel < 0 ? Rows<float>::kPadding : static_cast<int32_t>(pixel * channels));
      counted += pixel >= 0;
    }
    multiplier[static_cast<size_t>(p)] = 1.0f / static_cast<float>(counted > 0 ? counted : 1);
  }
  pool_f32::RunArgs r;
  r.x.base = x.data();
  r.x.offsets = offsets.data();
  r.x.taps = taps;
  r.x.depth = channels;
  r.multiplier = multiplier.data();
  r.y_stride = stride;
  r.pixel_begin = 1;
  r.pixel_end = pixels;
  const float inf = std::numeric_limits<float>::infinity();
  for (bool max : {true, false}) {
    CAPTURE(max);
    Buffer<float> pad(static_cast<size_t>(channels), max ? -inf : 0.0f);
    Buffer<float> y(static_cast<size_t>(pixels * stride), 12345.0f), expected(y.size(), 12345.0f);
    r.x.pad_row = pad.data();
    r.y = y.data();
    (max ? kernel.max : kernel.mean)(r);
    r.y = expected.data();
    (max ? reference::run_max_pool_f32 : reference::run_mean_pool_f32)(r);
    CHECK(test::first_difference(y, expected) == -1);
  }
}

}  // namespace

TEST_CASE("pool_f32: channel edges, taps, any value") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("pool_f32");
  std::set<Isa> exercised;
  for (const pool_f32::Kernel& kernel : pool_f32::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    for (int channels : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 130}) {
      for (int taps : {1, 2, 4, 9, 49}) {
        check(kernel, channels, taps, false, g);
        check(kernel, channels, taps, true, g);
      }
    }
    exercised.insert(kernel.isa);
  }
  test::require_all_levels("pool_f32", exercised);
}

TEST_CASE("pool_f32: the maximum skips NaNs") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float x[] = {nan, 1.0f, nan, -2.0f};
  const int32_t offsets[] = {0, 1, 2, 3};
  for (const pool_f32::Kernel& kernel : pool_f32::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    CAPTURE(kernel.name);
    float y = 0.0f;
    pool_f32::RunArgs r;
    r.x.base = x;
    r.x.offsets = offsets;
    r.x.taps = 4;
    r.x.depth = 1;
    r.y = &y;
    r.y_stride = 1;
    r.pixel_end = 1;
    kernel.max(r);
    CHECK(y == 1.0f);
  }
}

TEST_CASE("pool_f32: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    CHECK(pool_f32::select(isa_mask(level.isa)).isa <= level.isa);
  }
}

}  // namespace zeropoint
