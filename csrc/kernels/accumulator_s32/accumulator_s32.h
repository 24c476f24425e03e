// accumulator_s32: what integer products need besides gemm_s8 where zero points are on both sides
// or known at run time only: sums before the product, corrections and conversion after it.
//
// With a in the stored domain and b int8, gemm_s8 gives raw[j] = sum_k a[k] * b[k][j] (+ bias), and
//   sum_k (a[k] - zero_a) * (b[k][j] - zero_b[j])
//       = raw[j] - zero_a * sum_k b[k][j] - zero_b[j] * (sum_k a[k] - K * zero_a).
// The caller has proved 255 * 255 * K + |bias| < 2^31, which bounds every partial sum as well.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::accumulator_s32 {

// One row: acc[j] = raw[j] - zero_a * column_sums[j] - row * zero_b[j]. Either pointer may be null
// where its factor is 0.
struct Correction {
  const int32_t* raw = nullptr;
  int32_t zero_a = 0;
  const int32_t* column_sums = nullptr;  // sum_k b[k][j]
  int32_t row = 0;                       // sum_k a[k] - K * zero_a
  const int32_t* zero_b = nullptr;       // in the domain of b as it was packed
  int64_t n = 0;
};

// y[j] = round_clamp(float32(acc[j]) * multiplier).
struct RequantizeArgs {
  Correction acc;
  float multiplier = 0.0f;  // finite
  OutputClamp clamp;
  act_t* y = nullptr;
};

// y[j] = float32(acc[j]) * (scale_a * scale_b[j]) + bias[j], each operation rounded; without bias
// (null) nothing is added.
struct DequantizeArgs {
  Correction acc;
  float scale_a = 1.0f;
  const float* scale_b = nullptr;  // [n]
  const float* bias = nullptr;     // [n] or null
  float* y = nullptr;
};

struct Range {
  float lo, hi;
};

struct Kernel {
  const char* name;  // accumulator_s32_<isa>
  Isa isa;
  void (*correct)(const Correction&, int32_t* y);  // y may be raw
  void (*requantize)(const RequantizeArgs&);
  void (*dequantize)(const DequantizeArgs&);
  // Sums of n elements; n < 2^23.
  int32_t (*sum_activations)(const act_t* x, int64_t n);
  int32_t (*sum_weights)(const int8_t* x, int64_t n);
  // min(0, x...) and max(0, x...), NaNs left out.
  Range (*range)(const float* x, int64_t n);
  // Activations [k][n], rows `stride` elements apart, to int8 [n][k].
  void (*transpose)(const act_t* x, ptrdiff_t stride, int k, int n, int8_t* y);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::accumulator_s32
