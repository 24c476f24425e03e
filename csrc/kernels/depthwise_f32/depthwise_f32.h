// depthwise_f32: y[p][c] = clamp(bias[c] + x[row(p, 0)][c] * w[0][c] + x[row(p, 1)][c] * w[1][c] +
// ...)
//
// Products and sums are separately rounded, taps in order, starting from the bias.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "kernels/registry.h"

namespace zeropoint::depthwise_f32 {

struct RunArgs {
  Rows<float> x;                   // indirect; depth = channels; pad_row holds zeros
  const float* weights = nullptr;  // [taps][channels]
  const float* bias = nullptr;     // [channels]
  float* y = nullptr;
  ptrdiff_t y_stride = 0;
  float lo = 0.0f, hi = 0.0f;  // fused clip, as in gemm_f32
  int64_t pixel_begin = 0, pixel_end = 0;
};

struct Kernel {
  const char* name;  // depthwise_f32_<isa>
  Isa isa;
  void (*run)(const RunArgs&);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::depthwise_f32
