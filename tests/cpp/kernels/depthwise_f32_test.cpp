// Every depthwise_f32 kernel against the oracle, to the bit.
#include "kernels/depthwise_f32/depthwise_f32.h"

#include "kernels/float_support.h"
#include "reference/f32.h"

namespace zeropoint {
namespace {

using test::Buffer;

void check(const depthwise_f32::Kernel& kernel, int channels, int taps, bool any_value,
           std::mt19937_64& g) {
  CAPTURE(kernel.name);
  CAPTURE(channels);
  CAPTURE(taps);
  const int pixels = 7, inputs = 12, stride = channels + 5;
  Buffer<float> x(static_cast<size_t>(inputs * channels)), pad(static_cast<size_t>(channels)),
      weights(static_cast<size_t>(taps * channels)), bias(static_cast<size_t>(channels));
  for (Buffer<float>* b : {&x, &weights, &bias}) {
    if (any_value) {
      test::fill_any(*b, g);
    } else {
      test::fill_uniform(*b, g);
    }
  }
  std::vector<int32_t> offsets;
  for (int i = 0; i < pixels * taps; ++i) {
    const int64_t pixel = test::uniform(g, -1, inputs - 1);
    offsets.push_back(pixel < 0 ? Rows<float>::kPadding : static_cast<int32_t>(pixel * channels));
  }
  Buffer<float> y(static_cast<size_t>(pixels * stride), 12345.0f), expected(y.size(), 12345.0f);
  depthwise_f32::RunArgs r;
  r.x.base = x.data();
  r.x.offsets = offsets.data();
  r.x.pad_row = pad.data();
  r.x.taps = taps;
  r.x.depth = channels;
  r.weights = weights.data();
  r.bias = bias.data();
  r.y_stride = stride;
  r.lo = any_value ? -std::numeric_limits<float>::infinity() : -0.5f;
  r.hi = any_value ? std::numeric_limits<float>::infinity() : 0.5f;
  r.pixel_begin = 1;
  r.pixel_end = pixels - 1;
  r.y = y.data();
  kernel.run(r);
  r.y = expected.data();
  reference::run_depthwise_f32(r);
  CHECK(test::first_difference(y, expected) == -1);
}

}  // namespace

TEST_CASE("depthwise_f32: channel edges, taps, any value") {
  INFO(test::seed_note());
  std::mt19937_64 g = test::generator("depthwise_f32");
  std::set<Isa> exercised;
  for (const depthwise_f32::Kernel& kernel : depthwise_f32::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    for (int channels :
         {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 144}) {
      for (int taps : {1, 2, 9, 25}) {
        check(kernel, channels, taps, false, g);
        check(kernel, channels, taps, true, g);
      }
    }
    exercised.insert(kernel.isa);
  }
  test::require_all_levels("depthwise_f32", exercised);
}

TEST_CASE("depthwise_f32: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    CHECK(depthwise_f32::select(isa_mask(level.isa)).isa <= level.isa);
  }
}

}  // namespace zeropoint
