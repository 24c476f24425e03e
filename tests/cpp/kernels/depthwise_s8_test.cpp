#include "kernels/depthwise_s8/depthwise_s8.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quant/activation.h"
#include "reference/depthwise.h"
#include "support.h"

namespace zeropoint {
namespace {

constexpr uint8_t kCanary = 0xA5;
constexpr size_t kCanaryBytes = 64;

// Values a layer takes its numbers from.
enum class Fill { random, all_high, all_low, alternating };
enum class Multipliers { usual, tiny, huge, negative };

struct Layer {
  int taps;
  int channels;
  test::Buffer<int8_t> weights;
  test::Buffer<int32_t> bias;
  test::Buffer<float> multiplier;

  Layer(int taps_, int channels_)
      : taps(taps_),
        channels(channels_),
        weights(static_cast<size_t>(taps_) * static_cast<size_t>(channels_)),
        bias(static_cast<size_t>(channels_)),
        multiplier(static_cast<size_t>(channels_)) {}

  depthwise_s8::PackArgs pack_args() const {
    return {weights.data(), bias.data(), multiplier.data(), taps, channels};
  }
};

Layer make_layer(std::mt19937_64& g, int taps, int channels, Fill fill, Multipliers multipliers) {
  Layer layer(taps, channels);
  for (size_t i = 0; i < layer.weights.size(); ++i) {
    switch (fill) {
      case Fill::random:
        layer.weights[i] = static_cast<int8_t>(test::uniform(g, -128, 127));
        break;
      case Fill::all_high:
        layer.weights[i] = 127;
        break;
      case Fill::all_low:
        layer.weights[i] = -128;
        break;
      case Fill::alternating:
        layer.weights[i] = i % 3 == 0 ? -128 : i % 3 == 1 ? 127 : -127;
        break;
    }
  }
  // The widest bias for which no sum can leave int32.
  const int64_t room = std::numeric_limits<int32_t>::max() - int64_t{taps} * 128 * 255;
  for (int c = 0; c < channels; ++c) {
    const auto i = static_cast<size_t>(c);
    const int64_t limit = fill == Fill::random && c % 4 != 0 ? 40000 : room;
    layer.bias[i] = static_cast<int32_t>(c % 8 == 0   ? room
                                         : c % 8 == 4 ? -room
                                                      : test::uniform(g, -limit, limit));
    const auto spread = static_cast<float>(test::uniform(g, 1, 4000));
    layer.multiplier[i] = multipliers == Multipliers::usual  ? spread * 1e-6f
                          : multipliers == Multipliers::tiny ? spread * 1e-43f
                          : multipliers == Multipliers::huge ? spread * 1e32f
                                                             : spread * -1e6f;
  }
  return layer;
}

// An input and the table of its runs. Whatever lies between rows must not matter.
struct Input {
  test::Buffer<act_t> x;
  test::Buffer<act_t> pad_row;
  std::vector<int32_t> offsets;
  int64_t pixels;

  Rows<act_t> rows(const Layer& layer) const {
    Rows<act_t> r;
    r.base = x.data();
    r.offsets = offsets.data();
    r.pad_row = pad_row.data();
    r.taps = layer.taps;
    r.depth = layer.channels;
    return r;
  }
};

void fill_activations(test::Buffer<act_t>& x, std::mt19937_64& g, Fill fill) {
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t v = fill == Fill::all_high  ? kActMax
                      : fill == Fill::all_low ? (i % 2 ? kActMax : kActMin)
                                              : test::uniform(g, kActMin, kActMax);
    x[i] = static_cast<act_t>(v);
  }
}

// Every tap at a random row, one in eight of them padding. The last row ends with the buffer.
Input scattered_input(std::mt19937_64& g, const Layer& layer, int64_t pixels, Fill fill) {
  const int64_t stride = layer.channels + test::uniform(g, 0, 9);
  const int64_t rows = test::uniform(g, 1, 20);
  Input in{test::Buffer<act_t>(static_cast<size_t>((rows - 1) * stride + layer.channels)),
           test::Buffer<act_t>(static_cast<size_t>(layer.channels)),
           {},
           pixels};
  fill_activations(in.x, g, fill);
  fill_activations(in.pad_row, g, Fill::random);
  for (int64_t i = 0; i < pixels * layer.taps; ++i) {
    in.offsets.push_back(test::uniform(g, 0, 7) == 0
                             ? Rows<act_t>::kPadding
                             : static_cast<int32_t>(test::uniform(g, 0, rows - 1) * stride));
  }
  return in;
}

// A real convolution.
struct Geometry {
  int height, width, kernel, stride, padding, dilation;

  int out(int size) const {
    return (size + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
  }
};

Input convolution_input(std::mt19937_64& g, const Layer& layer, const Geometry& geo) {
  const int out_h = geo.out(geo.height), out_w = geo.out(geo.width);
  Input in{test::Buffer<act_t>(static_cast<size_t>(geo.height * geo.width * layer.channels)),
           test::Buffer<act_t>(static_cast<size_t>(layer.channels)),
           {},
           int64_t{out_h} * out_w};
  fill_activations(in.x, g, Fill::random);
  fill_activations(in.pad_row, g, Fill::random);
  for (int oy = 0; oy < out_h; ++oy) {
    for (int ox = 0; ox < out_w; ++ox) {
      for (int ky = 0; ky < geo.kernel; ++ky) {
        for (int kx = 0; kx < geo.kernel; ++kx) {
          const int iy = oy * geo.stride - geo.padding + ky * geo.dilation;
          const int ix = ox * geo.stride - geo.padding + kx * geo.dilation;
          const bool inside = iy >= 0 && iy < geo.height && ix >= 0 && ix < geo.width;
          in.offsets.push_back(inside ? (iy * geo.width + ix) * layer.channels
                                      : Rows<act_t>::kPadding);
        }
      }
    }
  }
  return in;
}

OutputClamp random_clamp(std::mt19937_64& g) {
  OutputClamp clamp;
  clamp.zero_point = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
  switch (test::uniform(g, 0, 3)) {
    case 0:
      break;
    case 1:
      clamp.qmin = clamp.zero_point;
      break;
    case 2:
      clamp.qmin = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
      clamp.qmax = static_cast<int32_t>(test::uniform(g, clamp.qmin, kActMax));
      break;
    default:
      clamp.qmin = clamp.qmax = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
      break;
  }
  return clamp;
}

// Runs every kernel that this CPU can on [begin, end) and compares all of y, the bytes between and
// outside of the pixels included.
std::set<Isa> check_all_kernels(std::mt19937_64& g, const Layer& layer, const Input& in,
                                int64_t begin, int64_t end) {
  const ptrdiff_t y_stride = layer.channels + test::uniform(g, 0, 1) * test::uniform(g, 1, 70);
  const auto y_size = static_cast<size_t>(in.pixels * y_stride);
  depthwise_s8::RunArgs args;
  args.x = in.rows(layer);
  args.y_stride = y_stride;
  args.clamp = random_clamp(g);
  args.pixel_begin = begin;
  args.pixel_end = end;

  test::Buffer<act_t> expected(y_size, static_cast<act_t>(kCanary));
  args.y = expected.data();
  reference::depthwise(layer.pack_args(), args);

  std::set<Isa> exercised;
  for (const depthwise_s8::Kernel& kernel : depthwise_s8::kernels()) {
    if (!test::runs_here(kernel.isa)) continue;
    if (kernel.applies && !kernel.applies({layer.taps, layer.channels})) continue;
    exercised.insert(kernel.isa);
    const size_t bytes = kernel.packed_bytes(layer.taps, layer.channels);
    test::Buffer<uint8_t> packed(bytes + kCanaryBytes, kCanary);
    kernel.pack(layer.pack_args(), packed.data());
    bool packed_within = true;
    for (size_t i = 0; i < kCanaryBytes; ++i) packed_within &= packed[bytes + i] == kCanary;

    test::Buffer<act_t> y(y_size, static_cast<act_t>(kCanary));
    args.packed = packed.data();
    args.y = y.data();
    kernel.run(args);
    INFO(test::seed_note() << ", kernel " << kernel.name << ", taps " << layer.taps << ", channels "
                           << layer.channels << ", pixels [" << begin << ", " << end << ")");
    CHECK(packed_within);
    CHECK(std::memcmp(y.data(), expected.data(), y_size) == 0);
  }
  return exercised;
}

std::set<Isa> check_all_kernels(std::mt19937_64& g, const Layer& layer, const Input& in) {
  return check_all_kernels(g, layer, in, 0, in.pixels);
}

// Runs every kernel for square windows that this CPU can on the output rows [begin, end), and
// compares with the table of the same convolution.
std::set<Isa> check_grid_kernels(std::mt19937_64& g, const Layer& layer, const Geometry& geo,
                                 const OutputClamp& clamp, int begin, int end) {
  const Input in = convolution_input(g, layer, geo);
  const int64_t out_width = geo.out(geo.width);
  const ptrdiff_t y_stride = layer.channels + test::uniform(g, 0, 1) * test::uniform(g, 1, 70);
  const auto y_size = static_cast<size_t>(in.pixels * y_stride);
  depthwise_s8::RunArgs args;
  args.x = in.rows(layer);
  args.y_stride = y_stride;
  args.clamp = clamp;
  args.pixel_begin = begin * out_width;
  args.pixel_end = end * out_width;
  test::Buffer<act_t> expected(y_size, static_cast<act_t>(kCanary));
  args.y = expected.data();
  reference::depthwise(layer.pack_args(), args);

  test::Buffer<act_t> padding(static_cast<size_t>(geo.width * layer.channels));
  for (size_t i = 0; i < padding.size(); ++i) {
    padding[i] = in.pad_row[i % static_cast<size_t>(layer.channels)];
  }
  depthwise_s8::Grid grid;
  grid.height = geo.height;
  grid.width = geo.width;
  grid.out_width = static_cast<int>(out_width);
  grid.pad_top = grid.pad_left = geo.padding;
  args.grid = &grid;
  args.x.offsets = nullptr;
  args.x.pad_row = padding.data();

  std::set<Isa> exercised;
  for (const depthwise_s8::Kernel& kernel : depthwise_s8::kernels()) {
    if (!kernel.takes_grid || !test::runs_here(kernel.isa)) continue;
    if (!kernel.applies({layer.taps, layer.channels, geo.kernel, geo.stride})) continue;
    exercised.insert(kernel.isa);
    const size_t bytes = kernel.packed_bytes(layer.taps, layer.channels);
    test::Buffer<uint8_t> packed(bytes + kCanaryBytes, kCanary);
    kernel.pack(layer.pack_args(), packed.data());
    bool packed_within = true;
    for (size_t i = 0; i < kCanaryBytes; ++i) packed_within &= packed[bytes + i] == kCanary;
    test::Buffer<act_t> y(y_size, static_cast<act_t>(kCanary));
    args.packed = packed.data();
    args.y = y.data();
    kernel.run(args);
    INFO(test::seed_note() << ", kernel " << kernel.name << ", " << layer.channels << " channels, "
                           << geo.height << " x " << geo.width << ", padding " << geo.padding
                           << ", rows [" << begin << ", " << end << "), clamp to [" << clamp.qmin
                           << ", " << clamp.qmax << "] around " << clamp.zero_point);
    CHECK(packed_within);
    CHECK(std::memcmp(y.data(), expected.data(), y_size) == 0);
  }
  return exercised;
}

// The clamps that kernels may have forms of their own for, and any other.
std::vector<OutputClamp> clamps(std::mt19937_64& g) {
  const auto zero_point = static_cast<int32_t>(test::uniform(g, kActMin, kActMax));
  return {{kActMin, kActMin, kActMax},
          {0, kActMin, kActMax},
          {zero_point, kActMin, kActMax},
          random_clamp(g)};
}

TEST_CASE("depthwise_s8: square windows over an image") {
  auto g = test::generator("depthwise grids");
  std::set<Isa> exercised;
  for (int kernel : {3, 5}) {
    for (int stride : {1, 2}) {
      for (int channels : {1, 15, 16, 17, 24, 32, 33, 63, 64, 65, 80, 96, 144}) {
        for (int round = 0; round < 4; ++round) {
          const int padding = static_cast<int>(test::uniform(g, 0, kernel + 1));
          const int least = std::max(1, kernel - 2 * padding);
          const Geometry geo{static_cast<int>(test::uniform(g, least, least + 12)),
                             static_cast<int>(test::uniform(g, least, least + 12)),
                             kernel,
                             stride,
                             padding,
                             1};
          Layer layer = make_layer(g, kernel * kernel, channels, Fill::random, Multipliers::usual);
          if (round % 2 == 0) test::fill_random(layer.bias, g, -200000, 200000);
          const int rows = geo.out(geo.height);
          for (const OutputClamp& clamp : clamps(g)) {
            exercised.merge(check_grid_kernels(g, layer, geo, clamp, 0, rows));
            const auto begin = static_cast<int>(test::uniform(g, 0, rows));
            const auto end = static_cast<int>(test::uniform(g, begin, rows));
            check_grid_kernels(g, layer, geo, clamp, begin, end);
          }
        }
      }
    }
  }
  // A level without a kernel of its own runs the offset tables, which other tests cover.
  for (const depthwise_s8::Kernel& kernel : depthwise_s8::kernels()) {
    if (kernel.takes_grid && test::runs_here(kernel.isa)) CHECK(exercised.count(kernel.isa) == 1);
  }
}

TEST_CASE("depthwise_s8: images of many columns and rows, which are cut into pieces") {
  auto g = test::generator("depthwise large grids");
  for (int kernel : {3, 5}) {
    for (int stride : {1, 2}) {
      for (int width : {27, 28, 29, 56, 63, 64, 65, 112, 131}) {
        const Geometry geo{width < 60 ? 40 : 9, width, kernel, stride, kernel / 2, 1};
        const int channels = static_cast<int>(test::uniform(g, 1, 200));
        Layer layer = make_layer(g, kernel * kernel, channels, Fill::random, Multipliers::usual);
        test::fill_random(layer.bias, g, -200000, 200000);
        const int rows = geo.out(geo.height);
        for (const OutputClamp& clamp : clamps(g)) {
          check_grid_kernels(g, layer, geo, clamp, 0, rows);
        }
      }
    }
  }
}

TEST_CASE("depthwise_s8: extremes over an image, and what may not take a short form") {
  auto g = test::generator("depthwise grid extremes");
  for (int kernel : {3, 5}) {
    for (int stride : {1, 2}) {
      for (Fill fill : {Fill::all_high, Fill::all_low, Fill::alternating}) {
        for (Multipliers multipliers :
             {Multipliers::usual, Multipliers::tiny, Multipliers::huge, Multipliers::negative}) {
          Layer layer = make_layer(g, kernel * kernel, 83, fill, multipliers);
          // Accumulators about 2^23, of either sign.
          for (int shift : {-1, 0, 1}) {
            const int taps = kernel * kernel * 128 * 255;
            for (size_t c = 0; c < layer.bias.size(); ++c) {
              layer.bias[c] = (c % 2 ? -1 : 1) * ((1 << 23) + shift - (c % 3 ? taps : 0));
              if (multipliers == Multipliers::usual && c % 5 == 0) layer.multiplier[c] = 1e-5f;
            }
            for (const OutputClamp& clamp : clamps(g)) {
              check_grid_kernels(g, layer, {6, 7, kernel, stride, 1, 1}, clamp, 0,
                                 Geometry{6, 7, kernel, stride, 1, 1}.out(6));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("depthwise_s8: an exact half rounds to even over an image") {
  // The middle tap alone weighs 1; odd accumulators land on halves.
  auto g = test::generator("depthwise grid halves");
  for (int kernel : {3, 5}) {
    Layer layer(kernel * kernel, 40);
    test::fill_random(layer.weights, g, 0, 0);
    for (size_t c = 0; c < 40; ++c) {
      layer.weights[static_cast<size_t>(kernel * kernel / 2) * 40 + c] = 1;
      layer.bias[c] = static_cast<int32_t>(c) * 8 - 160;
      layer.multiplier[c] = 0.5f;
    }
    for (const OutputClamp& clamp : clamps(g)) {
      check_grid_kernels(g, layer, {9, 31, kernel, 1, kernel / 2, 1}, clamp, 0, 9);
    }
  }
}

TEST_CASE("depthwise_s8: channel counts around every block width") {
  auto g = test::generator("depthwise channels");
  std::set<Isa> exercised;
  std::vector<int> counts;
  for (int multiple : {16, 32, 48, 64, 128, 192}) {
    for (int d = -1; d <= 1; ++d) counts.push_back(multiple + d);
  }
  for (int c : {1, 2, 3, 8, 24, 72, 120, 184, 200, 240}) counts.push_back(c);
  for (int channels : counts) {
    for (int taps : {9, 25, 4}) {
      const Layer layer = make_layer(g, taps, channels, Fill::random, Multipliers::usual);
      exercised.merge(check_all_kernels(g, layer, scattered_input(g, layer, 5, Fill::random)));
    }
  }
  test::require_all_levels("depthwise_s8", exercised, {Isa::i8mm});
}

TEST_CASE("depthwise_s8: every number of taps up to 49, and many") {
  auto g = test::generator("depthwise taps");
  for (int taps = 1; taps <= 49; ++taps) {
    const int channels = static_cast<int>(test::uniform(g, 1, 100));
    const Layer layer = make_layer(g, taps, channels, Fill::random, Multipliers::usual);
    check_all_kernels(g, layer, scattered_input(g, layer, 3, Fill::random));
  }
  for (int taps : {196, 511, 512, 513, 1023, 1024, 1025, 3000}) {
    const Layer layer = make_layer(g, taps, 37, Fill::random, Multipliers::usual);
    check_all_kernels(g, layer, scattered_input(g, layer, 3, Fill::random));
  }
}

TEST_CASE("depthwise_s8: real convolutions, with neighbouring pixels sharing columns") {
  auto g = test::generator("depthwise convolutions");
  const Geometry geometries[] = {
      {7, 7, 3, 1, 1, 1},   {8, 9, 3, 1, 1, 1},  {5, 6, 3, 2, 1, 1}, {9, 14, 3, 2, 0, 1},
      {1, 1, 3, 1, 1, 1},   {3, 3, 3, 1, 0, 1},  {9, 9, 3, 1, 2, 2}, {4, 23, 3, 1, 1, 1},
      {7, 7, 5, 1, 2, 1},   {8, 11, 5, 2, 2, 1}, {5, 5, 5, 1, 0, 1}, {11, 8, 5, 1, 4, 2},
      {12, 70, 3, 1, 1, 1}, {6, 66, 5, 1, 2, 1}, {2, 2, 3, 1, 2, 1},
  };
  for (const Geometry& geo : geometries) {
    for (int channels : {1, 16, 24, 64, 100}) {
      const Layer layer =
          make_layer(g, geo.kernel * geo.kernel, channels, Fill::random, Multipliers::usual);
      const Input in = convolution_input(g, layer, geo);
      check_all_kernels(g, layer, in);
      const int64_t begin = test::uniform(g, 0, in.pixels);
      check_all_kernels(g, layer, in, begin, test::uniform(g, begin, in.pixels));
    }
  }
}

TEST_CASE("depthwise_s8: pixels that are neighbours but for one tap") {
  auto g = test::generator("depthwise almost neighbours");
  for (int kernel : {3, 5}) {
    for (int stride : {1, 2}) {
      for (int round = 0; round < 16; ++round) {
        const Layer layer = make_layer(g, kernel * kernel, 20, Fill::random, Multipliers::usual);
        Input in = convolution_input(g, layer, {9, 12, kernel, stride, 1, 1});
        for (int64_t p = 0; p < in.pixels; p += test::uniform(g, 1, 4)) {
          const int64_t tap = p * layer.taps + test::uniform(g, 0, layer.taps - 1);
          in.offsets[static_cast<size_t>(tap)] =
              static_cast<int32_t>(test::uniform(g, 0, 9 * 12 - 1)) * layer.channels;
        }
        check_all_kernels(g, layer, in);
      }
    }
  }
}

TEST_CASE("depthwise_s8: extremes of weights, activations and multipliers") {
  auto g = test::generator("depthwise extremes");
  for (Fill fill : {Fill::all_high, Fill::all_low, Fill::alternating}) {
    for (Multipliers multipliers :
         {Multipliers::usual, Multipliers::tiny, Multipliers::huge, Multipliers::negative}) {
      for (int taps : {1, 2, 9, 25, 49}) {
        const Layer layer = make_layer(g, taps, 75, fill, multipliers);
        check_all_kernels(g, layer, scattered_input(g, layer, 6, fill));
      }
    }
  }
}

TEST_CASE("depthwise_s8: an exact half rounds to even") {
  // 1x1, weight 1, multiplier 0.5: odd accumulators land on halves.
  auto g = test::generator("depthwise halves");
  Layer layer(1, 256);
  for (size_t c = 0; c < 256; ++c) {
    layer.weights[c] = 1;
    layer.bias[c] = -128;
    layer.multiplier[c] = 0.5f;
  }
  Input in{test::Buffer<act_t>(256), test::Buffer<act_t>(256), {0}, 1};
  for (size_t c = 0; c < 256; ++c) in.x[c] = static_cast<act_t>(kActMin + static_cast<int>(c));
  check_all_kernels(g, layer, in);
}

TEST_CASE("depthwise_s8: nothing to do, and ranges that cut tiles") {
  auto g = test::generator("depthwise ranges");
  const Layer layer = make_layer(g, 9, 40, Fill::random, Multipliers::usual);
  const Input in = convolution_input(g, layer, {6, 7, 3, 1, 1, 1});
  for (int64_t begin = 0; begin <= in.pixels; begin += 5) {
    for (int64_t end = begin; end <= in.pixels; end += 3) {
      check_all_kernels(g, layer, in, begin, end);
    }
  }
}

TEST_CASE("depthwise_s8: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    const auto& kernel = depthwise_s8::select({9, 64}, isa_mask(level.isa));
    CHECK(kernel.isa <= level.isa);
    CHECK(depthwise_s8::select({1 << 20, 64}, isa_mask(level.isa)).isa <= level.isa);
  }
}

}  // namespace
}  // namespace zeropoint
