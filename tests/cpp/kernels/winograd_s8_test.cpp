// Every winograd_s8 kernel that this CPU can run, against the textbook product of the same windows,
// to the bit.
#include "kernels/winograd_s8/winograd_s8.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "reference/gemm.h"
#include "support.h"

namespace zeropoint {
namespace {

using test::Buffer;
using test::random_clamp;
using test::runnable;
using test::uniform;
using Generator = std::mt19937_64;

constexpr act_t kCanary = 0x5A;

struct Case {
  int height = 1, width = 1;
  int pads[4] = {1, 1, 1, 1};  // top, left, bottom, right
  int depth = 1, n = 1;
  int weight_lo = -128, weight_hi = 127;
  int act_lo = kActMin, act_hi = kActMax;
  bool extremes = false;   // no values between the lowest and the highest
  bool checkered = false;  // activations: squares of 2x2 pixels at either extreme
  int32_t bias = 1000;
  std::vector<float> multipliers = {1e-3f, 7.5e-3f, 0.05f};
  OutputClamp clamp;
  int extra_columns = 0;  // of C, on each side of the n that are computed
  bool add = false, in_place = false;
  OutputClamp sum_clamp;

  int out_height() const { return height + pads[0] + pads[2] - 2; }
  int out_width() const { return width + pads[1] + pads[3] - 2; }
  std::string describe() const {
    return std::to_string(height) + "x" + std::to_string(width) + "x" + std::to_string(depth) +
           " pads " + std::to_string(pads[0]) + "," + std::to_string(pads[1]) + "," +
           std::to_string(pads[2]) + "," + std::to_string(pads[3]) + " n=" + std::to_string(n) +
           (add ? in_place ? " residual in place" : " residual" : "");
  }
};

void check(const winograd_s8::Kernel& kernel, const Case& c, Generator& g,
           std::vector<int64_t> cuts = {}) {
  INFO(test::seed_note());
  INFO(kernel.name << ": " << c.describe());
  const auto depth = static_cast<size_t>(c.depth), n = static_cast<size_t>(c.n);
  const int out_height = c.out_height(), out_width = c.out_width();
  const auto pixels = static_cast<size_t>(out_height) * static_cast<size_t>(out_width);
  Buffer<act_t> x(static_cast<size_t>(c.height * c.width) * depth), pad(depth);
  test::fill_random(x, g, c.act_lo, c.act_hi);
  test::fill_random(pad, g, c.act_lo, c.act_hi);
  for (size_t i = 0; i < x.size(); ++i) {
    const auto row = static_cast<int>(i / depth) / c.width;
    const auto column = static_cast<int>(i / depth) % c.width;
    const bool high = c.checkered ? ((row + 1) / 2 + (column + 1) / 2) % 2 == 0 : x[i] % 2 == 0;
    if (c.checkered || c.extremes) x[i] = static_cast<act_t>(high ? c.act_hi : c.act_lo);
  }

  reference::GemmS8 plain;
  plain.m = static_cast<int64_t>(pixels);
  plain.n = c.n;
  plain.k = int64_t{9} * c.depth;
  plain.clamp = c.clamp;
  for (int y = 0; y < out_height; ++y) {
    for (int column = 0; column < out_width; ++column) {
      for (int tap = 0; tap < 9; ++tap) {
        const int iy = y - c.pads[0] + tap / 3, ix = column - c.pads[1] + tap % 3;
        const bool inside = iy >= 0 && iy < c.height && ix >= 0 && ix < c.width;
        const act_t* run =
            inside ? x.data() + static_cast<size_t>(iy * c.width + ix) * depth : pad.data();
        plain.a.insert(plain.a.end(), run, run + depth);
      }
    }
  }
  for (size_t i = 0; i < n * 9 * depth; ++i) {
    const auto between = static_cast<int8_t>(uniform(g, c.weight_lo, c.weight_hi));
    const auto extreme = static_cast<int8_t>(between % 2 == 0 ? c.weight_lo : c.weight_hi);
    plain.b.push_back(c.extremes ? extreme : between);
  }
  for (size_t i = 0; i < n; ++i) {
    plain.bias.push_back(static_cast<int32_t>(uniform(g, -int64_t{c.bias}, c.bias)));
    plain.multiplier.push_back(c.multipliers[i % c.multipliers.size()]);
  }

  winograd_s8::PackArgs pack;
  pack.weights = plain.b.data();
  pack.bias = plain.bias.data();
  pack.multiplier = plain.multiplier.data();
  pack.n = c.n;
  pack.depth = c.depth;
  const size_t packed_bytes = kernel.packed_bytes(c.n, c.depth);
  Buffer<unsigned char> packed(packed_bytes, 0), again(packed_bytes + 64, 0xFF);
  kernel.pack(pack, packed.data());
  kernel.pack(pack, again.data());
  CHECK(std::memcmp(packed.data(), again.data(), packed_bytes) == 0);
  for (size_t i = 0; i < 64; ++i) CHECK(again[packed_bytes + i] == 0xFF);

  const size_t stride = n + 2 * static_cast<size_t>(c.extra_columns);
  Buffer<act_t> out(pixels * stride, kCanary);
  const size_t scratch_bytes = kernel.scratch_bytes(c.depth);
  Buffer<unsigned char> scratch(scratch_bytes + 64, kCanary);
  winograd_s8::RunArgs args;
  args.x = x.data();
  args.pad = pad.data();
  args.image.height = c.height;
  args.image.width = c.width;
  args.image.out_height = out_height;
  args.image.out_width = out_width;
  args.image.pad_top = c.pads[0];
  args.image.pad_left = c.pads[1];
  args.depth = c.depth;
  args.packed = packed.data();
  args.n = c.n;
  args.c = out.data() + c.extra_columns;
  args.c_stride = static_cast<ptrdiff_t>(stride);
  args.clamp = c.clamp;
  args.scratch = scratch.data();

  reference::ResidualS8 residual;
  Buffer<act_t> other(pixels * n);
  if (c.add) {
    residual.zero_point = static_cast<int32_t>(uniform(g, kActMin, kActMax));
    residual.multiplier_c = 0.75f;
    residual.multiplier = 0.6f;
    residual.clamp = c.sum_clamp;
    test::fill_random(other, g, kActMin, kActMax);
    residual.values.assign(other.data(), other.data() + other.size());
    args.residual.data = other.data();
    args.residual.stride = static_cast<ptrdiff_t>(n);
    if (c.in_place) {
      for (size_t p = 0; p < pixels; ++p) {
        std::memcpy(args.c + p * stride, other.data() + p * n, n);
      }
      args.residual.data = args.c;
      args.residual.stride = args.c_stride;
    }
    args.residual.zero_point = residual.zero_point;
    args.residual.multiplier_c = residual.multiplier_c;
    args.residual.multiplier = residual.multiplier;
    args.residual.clamp = residual.clamp;
  }
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(args.image.tiles(kernel.tile));
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    args.tile_begin = cuts[i];
    args.tile_end = cuts[i + 1];
    kernel.run(args);
  }

  const std::vector<act_t> expected =
      c.add ? reference::gemm_s8_add(plain, residual) : reference::gemm_s8(plain);
  int wrong = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const auto column = static_cast<int64_t>(i % stride) - c.extra_columns;
    const bool inside = column >= 0 && column < c.n;
    const act_t want = inside ? expected[i / stride * n + static_cast<size_t>(column)] : kCanary;
    if (out[i] == want || ++wrong > 3) continue;
    INFO("pixel " << i / stride << ", column " << column << (inside ? "" : " (outside)"));
    CHECK(static_cast<int>(out[i]) == static_cast<int>(want));
  }
  CHECK(wrong == 0);
  for (size_t i = 0; i < 64; ++i) CHECK(scratch[scratch_bytes + i] == kCanary);
}

Case square(int side, int depth, int n) {
  Case c;
  c.height = c.width = side;
  c.depth = depth;
  c.n = n;
  c.extra_columns = 3;
  return c;
}

TEST_CASE("winograd_s8: images around whole tiles, every padding") {
  Generator g = test::generator("winograd images");
  for (const auto& kernel : runnable(winograd_s8::kernels())) {
    for (int height = 1; height <= 2 * kernel.tile + 2; ++height) {
      for (int width = 1; width <= 2 * kernel.tile + 3; ++width) {
        for (const int pad : {0, 1, 2, 5}) {
          Case c = square(0, 9, 17);
          c.height = height;
          c.width = width;
          for (int& p : c.pads) p = static_cast<int>(uniform(g, 0, pad));
          if (c.out_height() >= 1 && c.out_width() >= 1) check(kernel, c, g);
        }
      }
    }
  }
}

TEST_CASE("winograd_s8: channels and columns around whole vectors") {
  Generator g = test::generator("winograd channels");
  for (const auto& kernel : runnable(winograd_s8::kernels())) {
    for (int depth = 1; depth <= 49; ++depth) check(kernel, square(5, depth, 33), g);
    for (int n = 1; n <= 50; ++n) check(kernel, square(4, 20, n), g);
  }
}

// Channels that the kernel takes, whatever the weights.
int most_channels(const winograd_s8::Kernel& kernel) {
  return static_cast<int>(kernel.max_magnitude / (9 * 128));
}

TEST_CASE("winograd_s8: more tiles than are transformed at once, in any split") {
  Generator g = test::generator("winograd splits");
  for (const auto& kernel : runnable(winograd_s8::kernels())) {
    const int side = 10 * kernel.tile + 1;  // 121 tiles
    check(kernel, square(side, 16, 20), g);
    check(kernel, square(side, 16, 20), g, {1, 2, 40, 40, 120});
    check(kernel, square(7 * kernel.tile, most_channels(kernel) / 2, 20), g, {13});
    check(kernel, square(5 * kernel.tile, std::min(most_channels(kernel), 700), 20), g);
  }
}

TEST_CASE("winograd_s8: the largest sums") {
  Generator g = test::generator("winograd sums");
  for (const auto& kernel : runnable(winograd_s8::kernels())) {
    for (const int weight : {-128, 127}) {
      for (const int depth : {2, 3, most_channels(kernel) / 2, most_channels(kernel)}) {
        Case c = square(4, depth, 16);
        c.weight_lo = c.weight_hi = weight;
        c.act_lo = c.act_hi = kActMax;
        c.multipliers = {1e-7f, 2.5e-7f, 1e-3f, 1.0f};
        c.bias = std::numeric_limits<int32_t>::max() - 9 * depth * 128 * 255;
        check(kernel, c, g);
      }
    }
    // Transforms at their largest: of inputs, where signs alternate along rows and columns; of
    // weights, where they are alike. And what else extremes may meet.
    Case c = square(6, most_channels(kernel), 16);
    c.multipliers = {1e-7f, 1e-4f};
    c.extremes = true;
    check(kernel, c, g);
    c.checkered = true;
    check(kernel, c, g);
    c.weight_hi = -128;
    check(kernel, c, g);
    for (int& pad : c.pads) pad = 0;
    check(kernel, c, g);
    c.weight_lo = c.weight_hi = 127;
    check(kernel, c, g);
    // More channels, of smaller weights.
    c.depth = 1500;
    c.weight_hi = static_cast<int>(std::min<int64_t>(127, kernel.max_magnitude / (9 * 1500)));
    for (const int lowest : {c.weight_hi, -c.weight_hi}) {
      c.weight_lo = lowest;
      check(kernel, c, g);
    }
  }
}

TEST_CASE("winograd_s8: huge, tiny and negative multipliers, clamps that narrow, zero points") {
  Generator g = test::generator("winograd multipliers");
  for (const auto& kernel : runnable(winograd_s8::kernels())) {
    for (const std::vector<float>& multipliers : std::vector<std::vector<float>>{
             {1e-42f, 1e-3f}, {3e37f, -3e37f}, {-1e-3f, 1e-2f}, {300.0f, 255.0f}, {0.5f}, {0.0f}}) {
      for (const int32_t zero_point : {kActMin, kActMax, 128}) {
        Case c = square(5, 12, 32);
        c.multipliers = multipliers;
        c.clamp.zero_point = zero_point;
        check(kernel, c, g);
        c.clamp = random_clamp(g);
        check(kernel, c, g);
        c.bias = 1 << 23;  // sums on both sides of 2^23
        check(kernel, c, g);
      }
    }
  }
}

TEST_CASE("winograd_s8: residuals, apart and in place") {
  Generator g = test::generator("winograd residuals");
  for (const auto& kernel : runnable(winograd_s8::kernels())) {
    for (const bool in_place : {false, true}) {
      for (const int n : {5, 16, 40}) {
        for (int round = 0; round < 4; ++round) {
          Case c = square(static_cast<int>(uniform(g, 1, 9)), 24, n);
          c.add = true;
          c.in_place = in_place;
          if (round > 0) c.clamp = random_clamp(g);
          if (round > 1) c.sum_clamp = random_clamp(g);
          check(kernel, c, g, {1});
        }
      }
    }
  }
}

TEST_CASE("winograd_s8: selection is a pure function, of the level that multiplies directly") {
  winograd_s8::Problem problem;
  problem.n = problem.depth = 64;
  problem.out_height = problem.out_width = 56;
  for (const IsaLevel& level : isa_levels()) {
    const winograd_s8::Kernel* chosen = winograd_s8::select(problem, isa_mask(level.isa));
    INFO("cap " << level.name);
    const bool has_kernels =
        level.isa == Isa::avx2 || level.isa == Isa::avxvnni || level.isa == Isa::avx512vnni;
    CHECK((chosen != nullptr) == has_kernels);
    if (chosen != nullptr) CHECK(chosen->isa == level.isa);
  }
  // The side of the tiles that are chosen; 0: none.
  const auto side = [](Isa isa, const winograd_s8::Problem& asked) {
    const winograd_s8::Kernel* kernel = winograd_s8::select(asked, isa_mask(isa));
    return kernel != nullptr ? kernel->tile : 0;
  };
  const auto chosen = [&](int n, int depth, int64_t height, int64_t width, int64_t magnitude = 0) {
    return side(Isa::avx2, {n, depth, height, width, magnitude});
  };
#if defined(__x86_64__)
  CHECK(chosen(64, 64, 56, 56) == 4);
  CHECK(chosen(64, 64, -1, 0) == 4);  // sizes that are not known
  CHECK(chosen(64, 64, 4, 4) == 2);   // a single large tile
  CHECK(chosen(64, 64, 6, 6) == 2);   // half of large tiles over the edge
  CHECK(chosen(256, 256, 14, 14) == 2);
  CHECK(chosen(512, 512, -1, -1) == 0);
  CHECK(chosen(512, 512, 7, 7) == 0);
  CHECK(chosen(64, 64, 1, 100) == 0);  // half of each tile over the edge
  // 64 y and 4 y fit int32.
  CHECK(chosen(64, 512, 56, 56, ((1 << 26) - 3) / 255) == 4);
  CHECK(chosen(64, 512, 56, 56, ((1 << 26) - 3) / 255 + 1) == 2);
  CHECK(chosen(64, 2000, 56, 56, ((int64_t{1} << 31) - 1) / (4 * 255)) == 2);
  for (const Isa isa : {Isa::avxvnni, Isa::avx512vnni}) {  // multiply bytes twice as fast
    CHECK(side(isa, {64, 64, 28, 28, 0}) == 4);
    CHECK(side(isa, {64, 64, 14, 14, 0}) == 0);  // 256 pixels instead of 196
    CHECK(side(isa, {128, 128, 14, 14, 0}) == 4);
    CHECK(side(isa, {32, 32, 56, 56, 0}) == 0);  // transforms weigh more than products saved
    CHECK(side(isa, {64, 512, 56, 56, ((1 << 26) - 3) / 255 + 1}) == 0);
  }
#endif
  CHECK(chosen(64, 2000, 56, 56, (int64_t{1} << 31) / (4 * 255) + 1) == 0);
  CHECK(chosen(4, 64, 56, 56) == 0);
}

}  // namespace
}  // namespace zeropoint
