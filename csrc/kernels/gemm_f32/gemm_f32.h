// gemm_f32: C[M, N] = clamp(A[M, K] x B[K, N] + bias) in float32, one fixed order of operations.
//
//   acc = bias[n];  for k = 0 .. K-1:  acc = fma(a[m][k], b[k][n], acc);  c = min(max(acc, lo), hi)
//
// Every kernel performs exactly these operations (vector lanes run over n, never over k), so all
// ISA levels give the same bytes. max/min are `acc < lo ? lo : acc`, then `acc > hi ? hi : acc`
// (a NaN passes through).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "kernels/registry.h"

namespace zeropoint::gemm_f32 {

struct Problem {
  int64_t m = 0;
  int n = 0;
  int taps = 1;
  int depth = 0;
};

struct PackArgs {
  const float* weights = nullptr;  // element (n, t, d) at n * n_stride + (t * depth + d) * k_stride
  ptrdiff_t n_stride = 0, k_stride = 1;
  const float* bias = nullptr;  // [n] or nullptr for zeros
  int n = 0;
  int taps = 1;
  int depth = 0;
};

struct RunArgs {
  Rows<float> a;
  const void* packed = nullptr;
  int n = 0;
  float* c = nullptr;
  ptrdiff_t c_stride = 0;
  float lo = 0.0f, hi = 0.0f;  // -inf and +inf where nothing is fused
  int64_t m_begin = 0, m_end = 0;
  int n_begin = 0, n_end = 0;  // n_begin is a multiple of kColumnBlock
};

inline constexpr int kColumnBlock = 64;

struct Kernel {
  const char* name;  // gemm_f32_<mr>x<nr>_<isa>
  Isa isa;
  bool (*applies)(const Problem&);
  size_t (*packed_bytes)(int n, int taps, int depth);
  void (*pack)(const PackArgs&, void* packed);
  void (*run)(const RunArgs&);
  int mr, nr;
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(const Problem& problem, IsaMask mask);

}  // namespace zeropoint::gemm_f32
