// Every gemm_f32 kernel against the oracle (the math library's fma, one k after the other), to the
// bit: tile edges, K from 0 to several slices, tables of rows with padding, partial ranges, values
// that overflow, vanish or meet rounding ties.
#include "kernels/gemm_f32/gemm_f32.h"

#include "kernels/float_support.h"
#include "reference/f32.h"

namespace zeropoint {
namespace {

using test::Buffer;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kUntouched = 12345.0f;

// A problem with its buffers; A holds `a_rows` rows of `depth` elements.
struct Case {
  Case(int m_, int n_, int taps_, int depth_, bool indirect_, std::mt19937_64& g)
      : m(m_),
        n(n_),
        taps(taps_),
        depth(depth_),
        indirect(indirect_),
        a(static_cast<size_t>((indirect_ ? m_ + taps_ : m_) * depth_)),
        pad(static_cast<size_t>(depth_)),
        weights(static_cast<size_t>(n_) * taps_ * depth_),
        bias(static_cast<size_t>(n_)) {
    test::fill_uniform(a, g);
    test::fill_uniform(weights, g);
    test::fill_uniform(bias, g);
    if (indirect) {
      for (int i = 0; i < m * taps; ++i) {
        const int64_t row = test::uniform(g, -1, m + taps - 1);
        offsets.push_back(row < 0 ? Rows<float>::kPadding : static_cast<int32_t>(row * depth));
      }
    }
  }

  gemm_f32::PackArgs pack_args() const {
    gemm_f32::PackArgs p;
    p.weights = weights.data();
    p.n_stride = transposed ? 1 : static_cast<ptrdiff_t>(taps) * depth;
    p.k_stride = transposed ? n : 1;
    p.bias = with_bias ? bias.data() : nullptr;
    p.n = n;
    p.taps = taps;
    p.depth = depth;
    return p;
  }

  // Runs `kernel` on the ranges and compares all of C, the untouched part too.
  void check(const gemm_f32::Kernel& kernel) {
    CAPTURE(kernel.name);
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(taps);
    CAPTURE(depth);
    CAPTURE(indirect);
    const int stride = n + 3;
    Buffer<float> c(static_cast<size_t>(m) * stride, kUntouched);
    Buffer<float> expected(c.size(), kUntouched);
    Buffer<char> packed(kernel.packed_bytes(n, taps, depth));
    kernel.pack(pack_args(), packed.data());

    gemm_f32::RunArgs r;
    r.a.base = a.data();
    r.a.stride = depth;
    r.a.offsets = indirect ? offsets.data() : nullptr;
    r.a.pad_row = pad.data();
    r.a.taps = taps;
    r.a.depth = depth;
    r.packed = packed.data();
    r.n = n;
    r.c_stride = stride;
    r.lo = lo;
    r.hi = hi;
    r.m_begin = m_begin;
    r.m_end = m_end < 0 ? m : m_end;
    r.n_begin = n_begin;
    r.n_end = n_end < 0 ? n : n_end;
    r.c = c.data();
    kernel.run(r);
    r.c = expected.data();
    reference::run_gemm_f32(pack_args(), r);
    const int64_t i = test::first_difference(c, expected);
    if (i >= 0) {
      CAPTURE(i / stride);
      CAPTURE(i % stride);
      CAPTURE(c[static_cast<size_t>(i)]);
      CAPTURE(expected[static_cast<size_t>(i)]);
      FAIL_CHECK("differs from the oracle");
    }
  }

  int m, n, taps, depth;
  bool indirect, transposed = false, with_bias = true;
  float lo = -kInf, hi = kInf;
  int64_t m_begin = 0, m_end = -1;
  int n_begin = 0, n_end = -1;
  Buffer<float> a, pad, weights, bias;
  std::vector<int32_t> offsets;
};

template <typename Body>
void for_each_kernel(const Body& body) {
  INFO(test::seed_note());
  std::set<Isa> exercised;
  for (const gemm_f32::Kernel& kernel : gemm_f32::kernels()) {
    if (!test::cpu_has(kernel.isa)) continue;
    body(kernel);
    exercised.insert(kernel.isa);
  }
  test::require_all_levels("gemm_f32", exercised);
}

}  // namespace

TEST_CASE("gemm_f32: tile edges") {
  std::mt19937_64 g = test::generator("gemm_f32 edges");
  for_each_kernel([&](const gemm_f32::Kernel& kernel) {
    for (int n : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129, 140}) {
      for (int m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 17}) {
        Case c(m, n, 1, static_cast<int>(test::uniform(g, 1, 20)), false, g);
        c.transposed = m % 2 == 0;
        c.with_bias = m % 3 != 0;
        c.check(kernel);
      }
    }
  });
}

TEST_CASE("gemm_f32: depths, also beyond one slice of K") {
  std::mt19937_64 g = test::generator("gemm_f32 depths");
  for_each_kernel([&](const gemm_f32::Kernel& kernel) {
    for (int k : {0, 1, 2, 3, 1023, 1024, 1025, 2049, 3333}) {
      Case c(19, 70, 1, k, false, g);
      c.lo = -0.25f;  // applies to the last slice alone
      c.hi = 0.25f;
      c.check(kernel);
    }
    Case taps(15, 35, 9, 130, true, g);  // slices that end within a tap
    taps.check(kernel);
  });
}

TEST_CASE("gemm_f32: rows by table, with padding") {
  std::mt19937_64 g = test::generator("gemm_f32 rows");
  for_each_kernel([&](const gemm_f32::Kernel& kernel) {
    for (int i = 0; i < 30; ++i) {
      const int m = static_cast<int>(test::uniform(g, 1, 30));
      const int n = static_cast<int>(test::uniform(g, 1, 150));
      const int taps = static_cast<int>(test::uniform(g, 1, 10));
      Case c(m, n, taps, static_cast<int>(test::uniform(g, 1, 40)), true, g);
      c.check(kernel);
    }
  });
}

TEST_CASE("gemm_f32: ranges write nothing outside themselves") {
  std::mt19937_64 g = test::generator("gemm_f32 ranges");
  for_each_kernel([&](const gemm_f32::Kernel& kernel) {
    for (int n_end : {64, 65, 100, 128, 129, 180, 200}) {
      Case c(23, 200, 1, 11, false, g);
      c.m_begin = test::uniform(g, 0, 22);
      c.m_end = test::uniform(g, c.m_begin, 23);
      c.n_begin = n_end > 128 ? 128 : n_end > 64 ? 64 : 0;
      c.n_end = n_end;
      c.check(kernel);
    }
  });
}

TEST_CASE("gemm_f32: any value at all") {
  std::mt19937_64 g = test::generator("gemm_f32 any");
  for_each_kernel([&](const gemm_f32::Kernel& kernel) {
    for (int k : {1, 2, 5}) {
      Case c(40, 100, 1, k, false, g);
      test::fill_any(c.a, g);
      test::fill_any(c.weights, g);
      test::fill_any(c.bias, g);
      c.check(kernel);
      c.lo = 0.0f;
      c.hi = 6.0f;
      c.check(kernel);
    }
    // Denormal sums and products.
    Case c(40, 100, 1, 8, false, g);
    test::fill_uniform(c.a, g, 0x1p-70f);
    test::fill_uniform(c.weights, g, 0x1p-70f);
    test::fill_uniform(c.bias, g, 0x1p-138f);
    c.check(kernel);
  });
}

// a * b + c where the sum in double rounds to the middle of two floats: rounding it once more goes
// the wrong way. c = 1 + 2^-23 has an odd last bit, and a * b is 2^-24 (half of it) less 2^-64.
TEST_CASE("gemm_f32: sums that round twice in double") {
  std::mt19937_64 g = test::generator("gemm_f32 ties");
  for_each_kernel([&](const gemm_f32::Kernel& kernel) {
    for (float sign : {1.0f, -1.0f}) {
      for (int exponent : {-120, -20, 0, 60}) {
        Case c(9, 70, 1, 1, false, g);
        for (size_t i = 0; i < c.a.size(); ++i) c.a[i] = sign * (1.0f - 0x1p-20f) * 0x1p-24f;
        for (size_t i = 0; i < c.weights.size(); ++i) {
          c.weights[i] = std::ldexp(1.0f + (i % 2 ? 1.0f : -1.0f) * 0x1p-20f, exponent);
          c.bias[i] = std::ldexp(sign * (1.0f + 0x1p-23f), exponent);
        }
        c.check(kernel);
        CHECK(std::fma(c.a[0], c.weights[1], c.bias[1]) == c.bias[1]);
      }
    }
    // The same in the denormal range: 2^-150, half of the last bit, less 2^-190.
    Case c(9, 70, 1, 1, false, g);
    for (size_t i = 0; i < c.a.size(); ++i) c.a[i] = (1.0f - 0x1p-20f) * 0x1p-100f;
    for (size_t i = 0; i < c.weights.size(); ++i) {
      c.weights[i] = (1.0f + 0x1p-20f) * 0x1p-50f * (i % 2 ? 1.0f : -1.0f);
      c.bias[i] = test::from_bits(static_cast<uint32_t>(0x00400001 + i % 5));
    }
    c.check(kernel);
  });
}

TEST_CASE("gemm_f32: selection follows the mask") {
  for (const IsaLevel& level : isa_levels()) {
    const gemm_f32::Kernel& kernel = gemm_f32::select({64, 64, 1, 64}, isa_mask(level.isa));
    CHECK(kernel.isa <= level.isa);
    CHECK(kernel.applies({64, 64, 1, 64}));
  }
}

}  // namespace zeropoint
