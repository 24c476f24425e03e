#include "kernels/pool_s8/pool_s8.h"

#include <cstring>
#include <vector>

#include "reference/pool.h"
#include "support.h"

namespace zeropoint {
namespace {

enum class Fill { random, all_high, all_low };

// Scattered runs, some of them padding, of an input whose last row ends with its buffer.
struct Case {
  test::Buffer<act_t> x;
  test::Buffer<act_t> pad_row;
  std::vector<int32_t> offsets;
  std::vector<float> multiplier;
  pool_s8::RunArgs args;
  int64_t pixels;

  Case(std::mt19937_64& g, int taps, int channels, int64_t pixels_, Fill fill)
      : Case(g, taps, channels, pixels_, fill, channels + test::uniform(g, 0, 9),
             test::uniform(g, 1, 12)) {}

 private:
  Case(std::mt19937_64& g, int taps, int channels, int64_t pixels_, Fill fill, int64_t stride,
       int64_t rows)
      : x(static_cast<size_t>((rows - 1) * stride + channels)),
        pad_row(static_cast<size_t>(channels),
                static_cast<act_t>(test::uniform(g, kActMin, kActMax))),
        pixels(pixels_) {
    test::fill_random(x, g, fill == Fill::all_high ? kActMax : kActMin,
                      fill == Fill::all_low ? kActMin : kActMax);
    for (int64_t i = 0; i < pixels * taps; ++i) {
      offsets.push_back(fill != Fill::all_high && test::uniform(g, 0, 7) == 0
                            ? Rows<act_t>::kPadding
                            : static_cast<int32_t>(test::uniform(g, 0, rows - 1) * stride));
    }
    for (int64_t p = 0; p < pixels; ++p) {
      // One in four is an exact 1 / 2^k, which makes halves.
      const bool power = test::uniform(g, 0, 3) == 0;
      multiplier.push_back(power ? 1.0f / static_cast<float>(1 << test::uniform(g, 0, 8))
                                 : static_cast<float>(test::uniform(g, 1, 3000)) * 1e-3f /
                                       static_cast<float>(taps));
    }
    args.x.base = x.data();
    args.x.offsets = offsets.data();
    args.x.pad_row = pad_row.data();
    args.x.taps = taps;
    args.x.depth = channels;
    args.multiplier = multiplier.data();
    args.zero_point = static_cast<int32_t>(
        test::uniform(g, 0, 2) == 0 ? kActMin : test::uniform(g, kActMin, kActMax));
    args.clamp.zero_point = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
    if (test::uniform(g, 0, 1) == 0) {
      args.clamp.qmin = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
      args.clamp.qmax = static_cast<int32_t>(test::uniform(g, args.clamp.qmin, kActMax));
    }
  }
};

// Compares all of y, the bytes between and outside of the pixels included.
std::set<Isa> check_all_kernels(std::mt19937_64& g, const Case& c, int64_t begin, int64_t end) {
  constexpr act_t kCanary = 0x5A;
  pool_s8::RunArgs args = c.args;
  args.y_stride = args.x.depth + test::uniform(g, 0, 1) * test::uniform(g, 1, 70);
  args.pixel_begin = begin;
  args.pixel_end = end;
  const auto size = static_cast<size_t>(c.pixels * args.y_stride);
  test::Buffer<act_t> expected_max(size, kCanary), expected_mean(size, kCanary);
  args.y = expected_max.data();
  reference::max_pool(args);
  args.y = expected_mean.data();
  reference::mean_pool(args);

  std::set<Isa> exercised;
  for (const pool_s8::Kernel& kernel : pool_s8::kernels()) {
    if (!test::runs_here(kernel.isa)) continue;
    exercised.insert(kernel.isa);
    INFO(test::seed_note() << ", kernel " << kernel.name << ", taps " << args.x.taps
                           << ", channels " << args.x.depth << ", pixels [" << begin << ", " << end
                           << ")");
    test::Buffer<act_t> y_max(size, kCanary), y_mean(size, kCanary);
    args.y = y_max.data();
    kernel.max(args);
    CHECK(std::memcmp(y_max.data(), expected_max.data(), size) == 0);
    args.y = y_mean.data();
    kernel.mean(args);
    CHECK(std::memcmp(y_mean.data(), expected_mean.data(), size) == 0);
  }
  return exercised;
}

TEST_CASE("pool_s8: channel counts around every block width") {
  auto g = test::generator("pool channels");
  std::set<Isa> exercised;
  std::vector<int> counts = {1, 2, 3, 8, 24, 100, 1280};
  for (int multiple : {16, 32, 48, 64, 128}) {
    for (int d = -1; d <= 1; ++d) counts.push_back(multiple + d);
  }
  for (int channels : counts) {
    for (int taps : {1, 4, 9, 49}) {
      const Case c(g, taps, channels, 5, Fill::random);
      exercised.merge(check_all_kernels(g, c, 0, c.pixels));
    }
  }
  test::require_all_levels("pool_s8", exercised);
}

TEST_CASE("pool_s8: taps, up to and past where 16-bit sums would wrap") {
  auto g = test::generator("pool taps");
  for (int taps = 1; taps <= 49; ++taps) {
    const Case c(g, taps, static_cast<int>(test::uniform(g, 1, 90)), 3, Fill::random);
    check_all_kernels(g, c, 0, c.pixels);
  }
  for (int taps : {255, 256, 257, 258, 511, 512, 513, 3136}) {
    for (Fill fill : {Fill::random, Fill::all_high, Fill::all_low}) {
      const Case c(g, taps, 67, 2, fill);
      check_all_kernels(g, c, 0, c.pixels);
    }
  }
}

TEST_CASE("pool_s8: sub-ranges of pixels, empty ones too") {
  auto g = test::generator("pool ranges");
  const Case c(g, 9, 40, 17, Fill::random);
  for (int64_t begin = 0; begin <= c.pixels; ++begin) {
    for (int64_t end = begin; end <= c.pixels; end += 3) check_all_kernels(g, c, begin, end);
  }
}

TEST_CASE("pool_s8: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    CHECK(pool_s8::select(isa_mask(level.isa)).isa <= level.isa);
  }
}

}  // namespace
}  // namespace zeropoint
