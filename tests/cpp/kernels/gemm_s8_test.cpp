// Every gemm_s8 kernel that this CPU can run, against the textbook product, to the bit.
#include "kernels/gemm_s8/gemm_s8.h"

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
  int64_t m = 1;
  int n = 1;
  int taps = 1;
  int depth = 1;
  bool indirect = false;
  bool raw = false;  // s32 output
  int weight_lo = -128, weight_hi = 127;
  int act_lo = kActMin, act_hi = kActMax;
  int32_t bias = 1000;  // in [-bias, bias]
  // Multipliers are drawn from here; the default gives results on both sides of the clamps.
  std::vector<float> multipliers = {1e-3f, 7.5e-3f, 0.05f};
  OutputClamp clamp;
  int extra_columns = 0;  // of C, on each side of the n that are computed
  bool add = false;       // a residual
  bool in_place = false;  // the residual lies in C
  float residual_multipliers[2] = {0.75f, 0.6f};
  OutputClamp sum_clamp;

  std::string describe() const {
    return "m=" + std::to_string(m) + " n=" + std::to_string(n) + " taps=" + std::to_string(taps) +
           " depth=" + std::to_string(depth) + (indirect ? " indirect" : " direct") +
           (raw ? " s32" : " s8") + " zero_point=" + std::to_string(clamp.zero_point) + " clamp=[" +
           std::to_string(clamp.qmin) + ", " + std::to_string(clamp.qmax) + "]" +
           (add ? in_place ? " residual in place" : " residual" : "");
  }
};

// The operands of a case: A scattered among garbage as the kernels may meet it, and in plain
// order for the oracle.
struct Operands {
  reference::GemmS8 plain;
  reference::ResidualS8 residual;
  Buffer<act_t> a;
  std::vector<int32_t> offsets;
  Buffer<act_t> pad_row;
  Rows<act_t> rows;

  Operands(const Case& c, Generator& g)
      : a(a_size(c)), pad_row(static_cast<size_t>(c.depth), static_cast<act_t>(kActMin + 121)) {
    const size_t depth = static_cast<size_t>(c.depth);
    const size_t runs = static_cast<size_t>(c.m) * static_cast<size_t>(c.taps);
    plain.m = c.m;
    plain.n = c.n;
    plain.k = int64_t{c.taps} * c.depth;
    plain.clamp = c.clamp;
    const size_t n = static_cast<size_t>(c.n), k = static_cast<size_t>(plain.k);
    for (size_t i = 0; i < n * k; ++i) {
      plain.b.push_back(static_cast<int8_t>(uniform(g, c.weight_lo, c.weight_hi)));
    }
    for (size_t i = 0; i < n; ++i) {
      plain.bias.push_back(static_cast<int32_t>(uniform(g, -int64_t{c.bias}, c.bias)));
      plain.multiplier.push_back(c.multipliers[static_cast<size_t>(
          uniform(g, 0, static_cast<int64_t>(c.multipliers.size()) - 1))]);
    }
    test::fill_random(a, g, kActMin, kActMax);  // all of it garbage; runs are written below
    rows.base = a.data();
    rows.taps = c.taps;
    rows.depth = c.depth;
    rows.stride = static_cast<ptrdiff_t>(run_stride(c));
    std::vector<size_t> slots(runs);
    for (size_t i = 0; i < runs; ++i) slots[i] = i;
    if (c.indirect) std::shuffle(slots.begin(), slots.end(), g);
    for (size_t i = 0; i < runs; ++i) {
      const size_t at = slots[i] * run_stride(c);
      const bool padding = c.indirect && uniform(g, 0, 4) == 0;
      offsets.push_back(padding ? Rows<act_t>::kPadding : static_cast<int32_t>(at));
      for (size_t d = 0; d < depth; ++d) {
        a[at + d] = static_cast<act_t>(uniform(g, c.act_lo, c.act_hi));
        plain.a.push_back(padding ? pad_row[d] : a[at + d]);
      }
    }
    if (c.indirect) {
      rows.offsets = offsets.data();
      rows.pad_row = pad_row.data();
    }
    if (!c.add) return;
    residual.zero_point = static_cast<int32_t>(uniform(g, kActMin, kActMax));
    residual.multiplier_c = c.residual_multipliers[0];
    residual.multiplier = c.residual_multipliers[1];
    residual.clamp = c.sum_clamp;
    for (int64_t i = 0; i < c.m * c.n; ++i) {
      residual.values.push_back(static_cast<act_t>(uniform(g, kActMin, kActMax)));
    }
  }

  // Gaps between runs, none after the last: reads past the end leave the buffer.
  static size_t run_stride(const Case& c) { return static_cast<size_t>(c.depth) + 5; }
  static size_t a_size(const Case& c) {
    return static_cast<size_t>(c.m) * static_cast<size_t>(c.taps) * run_stride(c) - 5;
  }
};

// What a caller may tell pack(), which must not change results.
struct Hint {
  bool once;
  int64_t m;
};
constexpr Hint kHints[] = {{false, 0}, {true, 0}, {false, 1}};

// Packs as a session would, and checks that pack() writes every byte it announced and no other.
// What it returns has no room for more than these.
Buffer<unsigned char> pack(const gemm_s8::Kernel& kernel, const Case& c, const Operands& operands,
                           const Hint& hint) {
  gemm_s8::PackArgs args;
  args.once = hint.once;
  args.m = hint.m;
  args.weights = operands.plain.b.data();
  args.bias = operands.plain.bias.data();
  args.multiplier = c.raw ? nullptr : operands.plain.multiplier.data();
  args.n = c.n;
  args.taps = c.taps;
  args.depth = c.depth;
  const size_t most = kernel.packed_bytes(c.n, c.taps, c.depth);
  Buffer<unsigned char> packed(most, 0), again(most + 64, 0xFF);
  kernel.pack(args, packed.data());
  kernel.pack(args, again.data());
  const size_t bytes = kernel.used_bytes != nullptr ? kernel.used_bytes(packed.data()) : most;
  REQUIRE(bytes <= most);
  CHECK(std::memcmp(packed.data(), again.data(), bytes) == 0);
  CHECK(std::all_of(packed.data() + bytes, packed.data() + most, [](int b) { return b == 0; }));
  CHECK(
      std::all_of(again.data() + bytes, again.data() + most + 64, [](int b) { return b == 0xFF; }));
  Buffer<unsigned char> used(bytes, 0);
  std::memcpy(used.data(), packed.data(), bytes);
  return used;
}

struct Block {
  int64_t m_begin, m_end;
  int n_begin, n_end;
};

// Runs the blocks one after the other and compares all of C, and what surrounds it.
template <typename T>
void run_and_compare(const gemm_s8::Kernel& kernel, const Case& c, const Operands& operands,
                     const void* packed, const std::vector<Block>& blocks,
                     const std::vector<T>& expected) {
  const size_t stride = static_cast<size_t>(c.n + 2 * c.extra_columns);
  Buffer<T> out(static_cast<size_t>(c.m) * stride, static_cast<T>(kCanary));
  const size_t scratch_bytes = kernel.scratch_bytes(c.n, c.taps, c.depth);
  Buffer<unsigned char> scratch(scratch_bytes + 64, kCanary);
  gemm_s8::RunArgs args;
  args.a = operands.rows;
  args.packed = packed;
  args.n = c.n;
  if constexpr (sizeof(T) == 1) {
    args.c = out.data() + c.extra_columns;
  } else {
    args.c_s32 = out.data() + c.extra_columns;
  }
  args.c_stride = static_cast<ptrdiff_t>(stride);
  args.clamp = c.clamp;
  args.scratch = scratch.data();
  Buffer<act_t> other(0);
  if constexpr (sizeof(T) == 1) {
    if (c.add) {
      const size_t columns = static_cast<size_t>(c.n);
      act_t* rows = args.c;
      size_t rows_stride = stride;
      if (!c.in_place) {
        other = Buffer<act_t>(operands.residual.values.size());
        rows = other.data();
        rows_stride = columns;
      }
      for (size_t r = 0; r < static_cast<size_t>(c.m); ++r) {
        std::memcpy(rows + r * rows_stride, operands.residual.values.data() + r * columns, columns);
      }
      args.residual.data = rows;
      args.residual.stride = static_cast<ptrdiff_t>(rows_stride);
      args.residual.zero_point = operands.residual.zero_point;
      args.residual.multiplier_c = operands.residual.multiplier_c;
      args.residual.multiplier = operands.residual.multiplier;
      args.residual.clamp = operands.residual.clamp;
    }
  }
  for (const Block& block : blocks) {
    args.m_begin = block.m_begin;
    args.m_end = block.m_end;
    args.n_begin = block.n_begin;
    args.n_end = block.n_end;
    kernel.run(args);
  }
  int wrong = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i / stride);
    const int64_t column = static_cast<int64_t>(i % stride) - c.extra_columns;
    const bool inside = column >= 0 && column < c.n;
    const T want =
        inside ? expected[static_cast<size_t>(row * c.n + column)] : static_cast<T>(kCanary);
    if (out[i] == want || ++wrong > 3) continue;
    INFO("row " << row << ", column " << column << (inside ? "" : " (outside)"));
    CHECK(static_cast<int64_t>(out[i]) == static_cast<int64_t>(want));
  }
  CHECK(wrong == 0);
  for (size_t i = 0; i < 64; ++i) CHECK(scratch[scratch_bytes + i] == kCanary);
}

void check(const gemm_s8::Kernel& kernel, const Case& c, Generator& g,
           const std::vector<Block>& blocks = {}) {
  INFO(test::seed_note());
  INFO(kernel.name << ": " << c.describe());
  const Operands operands(c, g);
  // One for each hint that is packed otherwise.
  std::vector<Buffer<unsigned char>> packings;
  for (const Hint& hint : kHints) {
    Buffer<unsigned char> packed = pack(kernel, c, operands, hint);
    bool known = false;
    for (const auto& other : packings) {
      known = known || (packed.size() == other.size() &&
                        std::memcmp(packed.data(), other.data(), packed.size()) == 0);
    }
    if (!known) packings.push_back(std::move(packed));
  }
  const std::vector<Block> all = {{0, c.m, 0, c.n}};
  const auto compare = [&](const auto& expected) {
    for (size_t i = 0; i < packings.size(); ++i) {
      INFO("packing " << i << " of " << packings.size());
      run_and_compare(kernel, c, operands, packings[i].data(), blocks.empty() ? all : blocks,
                      expected);
    }
  };
  if (c.raw) {
    compare(reference::gemm_s8_s32(operands.plain));
  } else if (c.add) {
    compare(reference::gemm_s8_add(operands.plain, operands.residual));
  } else {
    compare(reference::gemm_s8(operands.plain));
  }
}

TEST_CASE("gemm_s8: every ISA level has a kernel that runs") {
  std::set<Isa> exercised;
  Generator g = test::generator("gemm_s8 levels");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    Case c;
    c.m = 7;
    c.n = 70;
    c.depth = 9;
    check(kernel, c, g);
    exercised.insert(kernel.isa);
  }
  test::require_all_levels("gemm_s8", exercised, {});
}

TEST_CASE("gemm_s8: selection is a pure function of the mask, best level first") {
  gemm_s8::Problem problem;
  problem.m = 10;
  problem.n = 100;
  problem.depth = 64;
  for (const IsaLevel& level : isa_levels()) {
    const gemm_s8::Kernel& chosen = gemm_s8::select(problem, isa_mask(level.isa));
    INFO("cap " << level.name << " chose " << chosen.name);
    CHECK(chosen.isa <= level.isa);
    for (const gemm_s8::Kernel& kernel : gemm_s8::kernels()) {
      if (kernel.isa <= level.isa) CHECK(chosen.isa >= kernel.isa);
    }
    // A layer is packed once, before m is known: m must not change the choice.
    for (int64_t m : {0, 1, 4, 5, 49, 12544}) {
      problem.m = m;
      CHECK(&gemm_s8::select(problem, isa_mask(level.isa)) == &chosen);
    }
  }
}

TEST_CASE("gemm_s8: every tile height and panel width") {
  Generator g = test::generator("gemm_s8 tiles");
  const int widths[] = {1,  2,  8,  15, 16, 17, 24, 31,  32,  33,  47,  48,
                        49, 63, 64, 65, 80, 96, 97, 127, 128, 129, 191, 193};
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int64_t m = 1; m <= 33; ++m) {
      for (int n : widths) {
        Case c;
        c.m = m;
        c.n = n;
        c.depth = static_cast<int>(uniform(g, 1, 9));
        c.raw = uniform(g, 0, 3) == 0;
        c.extra_columns = static_cast<int>(uniform(g, 0, 70));
        check(kernel, c, g);
      }
    }
    for (int64_t m : {47, 48, 49, 50, 56, 57, 83, 84, 85, 111, 112, 113}) {
      for (int n : {16, 32, 48, 64, 100}) {
        Case c;
        c.m = m;
        c.n = n;
        c.depth = 6;
        check(kernel, c, g);
      }
    }
  }
}

TEST_CASE("gemm_s8: depth around multiples, one tap and several, with padding rows") {
  Generator g = test::generator("gemm_s8 depth");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int depth : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 21, 31, 32, 33, 63, 64, 65, 127, 129}) {
      for (int taps : {1, 2, 7, 9}) {
        for (int64_t m : {1, 4, 13}) {
          Case c;
          c.m = m;
          c.n = 37;
          c.taps = taps;
          c.depth = depth;
          c.indirect = taps > 1 || m == 13;
          c.raw = depth % 5 == 0;
          c.multipliers = {1e-4f, 1e-3f, 0.01f};
          check(kernel, c, g);
        }
      }
    }
  }
}

TEST_CASE("gemm_s8: extreme weights and activations stay exact") {
  Generator g = test::generator("gemm_s8 extremes");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int weight : {127, -127, -128, 0}) {
      for (int act : {kActMin, kActMax}) {
        for (int depth : {1, 2, 64, 513}) {
          Case c;
          c.m = 9;
          c.n = 81;
          c.depth = depth;
          c.weight_lo = c.weight_hi = weight;
          c.act_lo = c.act_hi = act;
          c.multipliers = {1e-6f, 1e-4f, 1.0f};
          check(kernel, c, g);
          c.raw = true;
          check(kernel, c, g);
        }
      }
    }
    // Alternating extremes, where pairwise s16 sums would saturate.
    Case c;
    c.m = 6;
    c.n = 64;
    c.depth = 256;
    c.weight_lo = 126;
    c.act_lo = kActMax - 1;
    c.raw = true;
    check(kernel, c, g);
  }
}

// Kernels that sum products in 16 bits have to prove for the weights at hand that two of them fit,
// or four. Just below and just above: 255 * 128 fits, 255 * 129 does not.
TEST_CASE("gemm_s8: sums of few products at the edge of 16 bits") {
  Generator g = test::generator("gemm_s8 edge of 16 bits");
  const int weights[][2] = {{31, 33},     {-33, -31}, {63, 65},   {-65, -63},
                            {-33, 33},    {-65, 65},  {126, 127}, {-128, -126},
                            {-128, -128}, {-128, 1},  {0, 127},   {-20, 20}};
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (const auto& [lo, hi] : weights) {
      for (int act : {kActMin, kActMax, -1}) {
        for (int depth : {2, 4, 7, 8, 32, 260}) {
          Case c;
          c.m = 7;
          c.n = 40;
          c.depth = depth;
          c.weight_lo = lo;
          c.weight_hi = hi;
          if (act >= 0) c.act_lo = c.act_hi = act;
          c.raw = true;
          check(kernel, c, g);
        }
      }
    }
  }
}

TEST_CASE("gemm_s8: sums at the very edge of int32") {
  Generator g = test::generator("gemm_s8 bound");
  // The longest K for which K * |w| * max|act| stays within int32.
  const int largest = std::max(kActMax, -kActMin);
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int weight : {127, -128}) {
      Case c;
      c.m = 5;
      c.n = 18;
      c.depth =
          static_cast<int>(std::numeric_limits<int32_t>::max() / (std::abs(weight) * largest));
      c.weight_lo = c.weight_hi = weight;
      c.act_lo = c.act_hi = kActMax;
      c.bias = 0;
      c.raw = true;
      check(kernel, c, g);
      c.m = 1;
      c.raw = false;
      c.multipliers = {1e-8f, 5e-8f, 1.0f};
      check(kernel, c, g);
    }
  }
}

TEST_CASE("gemm_s8: ties, huge and tiny multipliers, clamps that narrow") {
  Generator g = test::generator("gemm_s8 requantize");
  const float big = std::numeric_limits<float>::max();
  const std::vector<std::vector<float>> families = {
      {0.5f, 0.25f, 0.125f},           // exact products: every second one a tie
      {0.0f, 1e-45f, 1e-38f, 1e-30f},  // denormal and vanishing
      {1.0f, 1e4f, 1e9f, 1e30f, big},  // beyond int32, and beyond float
      {-0.5f, -1e-2f, -1e30f},         // a negative scale is not useful, but defined
      {1.0f / 3.0f, 0.0039215689f, 0.1f},
  };
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (const std::vector<float>& multipliers : families) {
      for (int repeat = 0; repeat < 12; ++repeat) {
        Case c;
        c.m = uniform(g, 1, 20);
        c.n = static_cast<int>(uniform(g, 1, 130));
        c.depth = static_cast<int>(uniform(g, 1, 12));
        c.weight_lo = -2;
        c.weight_hi = 2;
        c.act_hi = kActMin + 40;
        c.bias = 30;
        c.multipliers = multipliers;
        if (repeat > 0) c.clamp = random_clamp(g);
        if (repeat == 1) c.clamp.qmin = c.clamp.qmax;
        if (repeat == 2) c.clamp = {kActMin, kActMin, kActMax};
        if (repeat == 3) c.clamp = {kActMax, kActMin, kActMax};
        check(kernel, c, g);
      }
    }
  }
}

TEST_CASE("gemm_s8: moderate sums, which multipliers take beyond int32") {
  // Kernels that prove bounds when they pack must not prove too much. Each multiplier has layers of
  // its own, so that no other column forbids what one allows.
  Generator g = test::generator("gemm_s8 beyond int32");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (float multiplier : {0.99999994f, 255.99998f, 256.0f, 300.0f, 1e4f, 1e9f, 9e29f, -1e4f}) {
      for (int32_t bias : {1 << 10, (1 << 23) - 1, 1 << 24}) {
        for (int32_t zero_point : {kActMin, kActMin + 1, kActMax}) {
          Case c;
          c.m = 7;
          c.n = 80;
          c.weight_lo = c.weight_hi = 0;
          c.bias = bias;
          c.multipliers = {multiplier};
          c.clamp.zero_point = zero_point;
          check(kernel, c, g);
        }
      }
    }
  }
}

TEST_CASE("gemm_s8: residuals, apart and in place") {
  Generator g = test::generator("gemm_s8 residual");
  const float limit = Residual::kMaxMultiplier * 0.999f;
  const float pairs[][2] = {{0.75f, 0.6f},   {1.0f, 1.0f},  {0.5f, 0.5f},   {1e-3f, 2.0f},
                            {-1.0f, 0.25f},  {0.0f, 0.0f},  {1e-40f, 3.7f}, {limit, limit},
                            {limit, -limit}, {0.51f, -1.3f}};
  const int widths[] = {1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 100, 128, 161, 200};
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int64_t m = 1; m <= 20; ++m) {
      for (int n : widths) {
        Case c;
        c.m = m;
        c.n = n;
        c.depth = static_cast<int>(uniform(g, 1, 9));
        c.taps = static_cast<int>(uniform(g, 1, 2));
        c.indirect = c.taps > 1;
        c.add = true;
        c.in_place = uniform(g, 0, 1) == 0;
        c.extra_columns = static_cast<int>(uniform(g, 0, 70));
        const auto& pair = pairs[static_cast<size_t>(uniform(g, 0, 9))];
        c.residual_multipliers[0] = pair[0];
        c.residual_multipliers[1] = pair[1];
        if (uniform(g, 0, 3) != 0) c.clamp = random_clamp(g);
        if (uniform(g, 0, 3) != 0) c.sum_clamp = random_clamp(g);
        // Above 1 in one case of eight: products may leave int32.
        if (uniform(g, 0, 7) == 0) c.multipliers = {1e-3f, 1.0f, 1e9f};
        check(kernel, c, g);
      }
    }
  }
}

TEST_CASE("gemm_s8: blocks computed separately make up the whole") {
  Generator g = test::generator("gemm_s8 blocks");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      Case c;
      c.m = uniform(g, 2, 60);
      c.n = static_cast<int>(uniform(g, 65, 300));
      c.depth = static_cast<int>(uniform(g, 1, 40));
      c.taps = static_cast<int>(uniform(g, 1, 3));
      c.indirect = c.taps > 1;
      c.raw = repeat % 3 == 0;
      c.add = repeat % 3 == 1;
      c.in_place = repeat % 2 == 0;
      c.extra_columns = 3;
      const int64_t row = uniform(g, 1, c.m - 1);
      const int column = gemm_s8::kColumnBlock *
                         static_cast<int>(uniform(g, 1, (c.n - 1) / gemm_s8::kColumnBlock));
      check(kernel, c, g,
            {{row, c.m, column, c.n},
             {0, row, 0, column},
             {0, row, column, c.n},
             {row, c.m, 0, column},
             {row, row, 0, c.n}});
    }
  }
}

TEST_CASE("gemm_s8: packed weights larger than the cache blocks") {
  Generator g = test::generator("gemm_s8 large");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int64_t m : {1, 3, 20}) {
      Case c;
      c.m = m;
      c.n = 328;
      c.taps = m == 20 ? 3 : 1;
      c.depth = m == 20 ? 1001 : 3003;
      c.indirect = c.taps > 1;
      c.multipliers = {1e-5f, 1e-4f};
      check(kernel, c, g);
    }
  }
}

TEST_CASE("gemm_s8: K of a few thousand, around where kernels cut it") {
  Generator g = test::generator("gemm_s8 deep");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int depth : {2044, 2047, 2048, 2049, 2052, 4097}) {
      for (bool add : {false, true}) {
        Case c;
        c.m = 8;
        c.n = 36;
        c.depth = depth;
        c.multipliers = {1e-5f, 1e-4f};
        c.raw = depth == 2049 && !add;
        c.add = add;
        check(kernel, c, g);
      }
    }
  }
}

TEST_CASE("gemm_s8: random problems") {
  Generator g = test::generator("gemm_s8 random");
  for (const gemm_s8::Kernel& kernel : runnable(gemm_s8::kernels())) {
    for (int repeat = 0; repeat < 150; ++repeat) {
      Case c;
      c.m = uniform(g, 1, 70);
      c.n = static_cast<int>(uniform(g, 1, 200));
      c.taps = static_cast<int>(uniform(g, 1, 9));
      c.depth = static_cast<int>(uniform(g, 1, 70));
      c.indirect = c.taps > 1 || uniform(g, 0, 1) == 0;
      c.raw = uniform(g, 0, 3) == 0;
      c.clamp = random_clamp(g);
      c.multipliers = {1e-4f, 1e-3f, 3e-3f};
      c.extra_columns = static_cast<int>(uniform(g, 0, 9));
      c.add = uniform(g, 0, 2) == 0;
      check(kernel, c, g);
    }
  }
}

}  // namespace
}  // namespace zeropoint
