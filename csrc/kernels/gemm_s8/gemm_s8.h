// gemm_s8: C[M, N] = requantize(A[M, K] x B[K, N] + bias), exact int32 accumulation.
//
// A holds activations (act_t) addressed through Rows; K = taps * depth. B holds int8 weights,
// packed once by the kernel that will run. The caller folds the input's zero point into the bias:
//   bias[n] = layer_bias[n] - zero_point_x * sum_k w[n][k]
// (pad rows hold the zero point, so this is right at borders too), and has proved that
// sum|w| * 255 + |bias| < 2^31, so no intermediate sum can wrap. Multipliers are finite, and n,
// taps and depth at least 1; an empty range of rows or columns computes nothing.
//
// This header is included by ISA files: plain declarations only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "kernels/registry.h"
#include "kernels/residual.h"
#include "quant/requantize.h"

namespace zeropoint::gemm_s8 {

// What a selection may depend on.
struct Problem {
  int64_t m = 0;  // rows of A for one call; 0 when not known at packing time
  int n = 0;
  int taps = 1;
  int depth = 0;
};

struct PackArgs {
  const int8_t* weights = nullptr;    // [n][taps][depth]
  const int32_t* bias = nullptr;      // [n], input zero point folded in
  const float* multiplier = nullptr;  // [n], see requantize_multiplier; unused for s32 output
  int n = 0;
  int taps = 1;
  int depth = 0;
  // Hints: a kernel may pack otherwise for them, but then runs all the same.
  bool once = false;  // for one run only: packing should cost little
  int64_t m = 0;      // rows of A in a run; 0 when not known
};

struct RunArgs {
  Rows<act_t> a;
  const void* packed = nullptr;  // written by the same kernel's pack()
  int n = 0;
  // Exactly one of the two outputs is set. Rows start at c + m * c_stride (elements).
  act_t* c = nullptr;
  int32_t* c_s32 = nullptr;  // raw accumulators (with bias), for integer operators
  ptrdiff_t c_stride = 0;
  OutputClamp clamp;
  // With `c` only. An element is read before it is stored by the same thread, so c may be the
  // residual itself.
  Residual residual;
  // The block to compute; n_begin is a multiple of kColumnBlock.
  int64_t m_begin = 0, m_end = 0;
  int n_begin = 0, n_end = 0;
  void* scratch = nullptr;  // scratch_bytes() of the kernel, 64-byte aligned, one per thread
};

// Column splits between threads happen at multiples of this.
inline constexpr int kColumnBlock = 64;

struct Kernel {
  const char* name;  // gemm_s8_<mr>x<nr>_<isa>
  Isa isa;
  bool (*applies)(const Problem&);  // is it made for this problem? (nullptr: for all)
  size_t (*packed_bytes)(int n, int taps, int depth);
  void (*pack)(const PackArgs&, void* packed);          // fills all used_bytes()
  size_t (*scratch_bytes)(int n, int taps, int depth);  // a smaller product may need more
  void (*run)(const RunArgs&);
  int mr, nr;
  // How many of packed_bytes() a packed matrix takes, where that is up to the weights (nullptr:
  // all). What lies behind them is neither written nor read.
  size_t (*used_bytes)(const void* packed) = nullptr;
};

// Every kernel built in, best first.
KernelSpan<Kernel> kernels();

// The first kernel that the mask allows and that applies: a pure function of its arguments, so
// any machine can tell what another would choose.
const Kernel& select(const Problem& problem, IsaMask mask);

}  // namespace zeropoint::gemm_s8
