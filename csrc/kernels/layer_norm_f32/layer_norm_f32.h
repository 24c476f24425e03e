// layer_norm_f32: one row of float32 brought to mean 0 and variance 1, then scaled and shifted.
//
//   mean = sum(x) / n;  d = x - mean;  variance = sum(d * d) / n
//   y = (d * (1 / sqrt(variance + epsilon))) * scale + bias
//
// Every operation is rounded on its own; sums in the order of quant/reduce_f32.h. y may be x.
#pragma once

#include <cstdint>

#include "cpu/isa.h"
#include "kernels/registry.h"

namespace zeropoint::layer_norm_f32 {

struct RunArgs {
  const float* x = nullptr;
  const float* scale = nullptr;  // [n]
  const float* bias = nullptr;   // [n], or null: nothing is added
  float* y = nullptr;
  int64_t n = 0;  // at least 1
  float epsilon = 1e-5f;
};

struct Kernel {
  const char* name;  // layer_norm_f32_<isa>
  Isa isa;
  void (*run)(const RunArgs&);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::layer_norm_f32
