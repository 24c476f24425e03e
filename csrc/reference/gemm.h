// Textbook matrix products on plain arrays: what the gemm kernels must equal.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/requantize.h"

namespace zeropoint::reference {

// a[m][k] in the stored domain, b[n][k] weights, bias[n] with the input zero point folded in.
struct GemmS8 {
  int64_t m = 0, n = 0, k = 0;
  std::vector<act_t> a;
  std::vector<int8_t> b;
  std::vector<int32_t> bias;
  std::vector<float> multiplier;  // [n]; not used by gemm_s8_s32
  OutputClamp clamp;
};

// c[m][n] = sum_k a[m][k] * b[n][k] + bias[n]. Throws std::overflow_error when a result does not
// fit int32: such a problem breaks the kernels' contract, so it is the caller's mistake.
std::vector<int32_t> gemm_s8_s32(const GemmS8& problem);

// c[m][n] = requantize(gemm_s8_s32, multiplier[n], clamp).
std::vector<act_t> gemm_s8(const GemmS8& problem);

// sum[m][n] = add(gemm_s8, residual[m][n]), each rounded and clamped on its own.
struct ResidualS8 {
  std::vector<act_t> values;  // [m][n]
  int32_t zero_point = 0;
  float multiplier_c = 0.0f, multiplier = 0.0f;
  OutputClamp clamp;
};
std::vector<act_t> gemm_s8_add(const GemmS8& problem, const ResidualS8& residual);

}  // namespace zeropoint::reference
