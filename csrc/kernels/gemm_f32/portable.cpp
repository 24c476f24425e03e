// gemm_f32 in plain C++: tiles of 4x16. Where the compiler has no fma instruction, an exact one is
// made of double arithmetic; see fma_16.
#include <cstdint>

#include "kernels/gemm_f32/gemm_f32_kernels.h"

namespace zeropoint::gemm_f32 {
namespace {

constexpr int kColumns = 16;

#if defined(__FP_FAST_FMAF) || defined(__aarch64__)

void fma_16(float a, const float* b, float* acc) {
  for (int j = 0; j < kColumns; ++j) acc[j] = __builtin_fmaf(a, b[j], acc[j]);
}

#else

uint64_t double_bits(double x) {
  uint64_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}

// a * b + c rounded once. The product of two floats is exact in double; the sum s may not be, and
// rounding it to float would then round twice. Its error e is exact (two-sum), and where e != 0, s
// is moved to the neighbour with an odd last bit ("round to odd"), from which rounding to any
// format at least two bits shorter gives the correctly rounded result.
float fma_exact(float a, float b, float c) {
  const double p = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  double s = p + addend;
  const double part = s - p;
  const double e = (p - (s - part)) + (addend - part);
  if ((e < 0.0 || e > 0.0) && (double_bits(s) & 1u) == 0) {  // false for inf and NaN
    const uint64_t odd = double_bits(s) + ((e > 0.0) == (s > 0.0) ? 1u : ~uint64_t{0});
    __builtin_memcpy(&s, &odd, sizeof s);
  }
  return static_cast<float>(s);
}

// acc[j] = fma(a, b[j], acc[j]). Rounding twice differs from rounding once only where the double
// sum lies exactly in the middle of two floats (the 29 dropped bits are 100...0), or where the
// float is denormal and drops more bits. So all 16 are rounded twice, and in the rare case that one
// of them looks like that (the test is integer arithmetic that vectorizes), all are done exactly.
void fma_16(float a, const float* b, float* acc) {
  constexpr uint64_t dropped = (uint64_t{1} << 29) - 1;
  constexpr uint64_t middle = uint64_t{1} << 28;
  constexpr uint64_t least_normal = uint64_t{1023 - 126} << 52;  // 2^-126
  const double wide = static_cast<double>(a);
  float rounded[kColumns];
  uint64_t doubtful = 0;  // in the top bit
  for (int j = 0; j < kColumns; ++j) {
    const double s = wide * static_cast<double>(b[j]) + static_cast<double>(acc[j]);
    uint64_t u;
    __builtin_memcpy(&u, &s, sizeof u);
    const uint64_t magnitude = u & ~(uint64_t{1} << 63);
    const uint64_t is_middle = ((u & dropped) ^ middle) - 1;
    const uint64_t is_denormal = (magnitude - least_normal) & ~(magnitude - 1);
    doubtful |= is_middle | is_denormal;
    rounded[j] = static_cast<float>(s);
  }
  if (doubtful >> 63 != 0) {
    for (int j = 0; j < kColumns; ++j) rounded[j] = fma_exact(a, b[j], acc[j]);
  }
  for (int j = 0; j < kColumns; ++j) acc[j] = rounded[j];
}

#endif

template <int MR>
void run_tile(const RunArgs& args, int64_t m, int column) {
  const float* panel = panel_at(args, column);
  const int columns = args.n_end - column < kColumns ? args.n_end - column : kColumns;
  float acc[MR][kColumns];
  for (int i = 0; i < MR; ++i) {
    for (int j = 0; j < kColumns; ++j) acc[i][j] = panel[j];
  }
  const float* b = panel + kColumns;
  for (int tap = 0; tap < args.a.taps; ++tap) {
    const float* a[MR];
    for (int i = 0; i < MR; ++i) a[i] = row_run(args.a, m + i, tap);
    for (int d = 0; d < args.a.depth; ++d, b += kColumns) {
      for (int i = 0; i < MR; ++i) fma_16(a[i][d], b, acc[i]);
    }
  }
  for (int i = 0; i < MR; ++i) {
    float* c = args.c + (m + i) * args.c_stride + column;
    for (int j = 0; j < columns; ++j) {
      float y = acc[i][j];
      y = y < args.lo ? args.lo : y;
      c[j] = y > args.hi ? args.hi : y;
    }
  }
}

void run(const RunArgs& args) {
  for (int column = args.n_begin; column < args.n_end; column += kColumns) {
    int64_t m = args.m_begin;
    for (; m + 4 <= args.m_end; m += 4) run_tile<4>(args, m, column);
    for (; m < args.m_end; ++m) run_tile<1>(args, m, column);
  }
}

bool applies(const Problem&) { return true; }

}  // namespace

KernelSpan<Kernel> portable_kernels() {
  static const Kernel table[] = {
      {"gemm_f32_4x16_portable", Isa::portable, applies, packed_bytes, pack_16, run, 4, 16},
  };
  return {table, 1};
}

}  // namespace zeropoint::gemm_f32
