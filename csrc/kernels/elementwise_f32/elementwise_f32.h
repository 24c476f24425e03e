// elementwise_f32: float32 binary and unary functions and softmax, the same bytes on every ISA.
//
// No C math library is called: exp, log, tanh, erf are polynomials written with separately rounded
// multiplications and additions (no fma), so any compiler may vectorize them and NumPy can repeat
// them (python/zeropoint/float_math.py does). An output may be one of the inputs (in place), but
// never overlap one otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::elementwise_f32 {

// max and min give a NaN where either side is one (of two, the first); max(-0, 0) is its first
// side.
enum class Binary : uint8_t { add, sub, mul, div, max, min };

struct BinaryArgs {
  const float* a = nullptr;
  const float* b = nullptr;
  int a_step = 1, b_step = 1;  // 0: one value for the whole run; 1: a run of its own
  float* y = nullptr;
  int64_t n = 0;
  float lo = 0.0f, hi = 0.0f;  // fused clip, as in gemm_f32; -inf and +inf for none
};

// The unary functions of DESIGN's operator list. alpha and beta as the ONNX operators define them.
enum class Unary : uint8_t {
  abs,
  clip,  // alpha = min, beta = max
  elu,   // alpha
  erf,
  exp,
  gelu,          // x * (1 + erf(x / sqrt(2))) / 2
  gelu_tanh,     // the tanh approximation
  hard_sigmoid,  // max(0, min(1, alpha * x + beta))
  hard_swish,    // x * max(0, min(1, x * (1 / 6) + 0.5)), 1 / 6 rounded to float32
  leaky_relu,    // alpha
  log,
  mish,  // x * tanh(softplus(x))
  neg,
  pow,  // alpha = exponent: binary powers, square roots or exp(alpha * log(x))
  relu,
  sigmoid,
  silu,      // x * sigmoid(x)
  softplus,  // log(exp(x) + 1)
  sqrt,
  tanh,
};

struct UnaryArgs {
  Unary function = Unary::relu;
  float alpha = 0.0f, beta = 0.0f;
  const float* x = nullptr;
  float* y = nullptr;
  int64_t n = 0;
};

// y = x < 0 ? slope * x : x, with step 0 or 1 on the slope.
struct PreluArgs {
  const float* x = nullptr;
  const float* slope = nullptr;
  int slope_step = 1;
  float* y = nullptr;
  int64_t n = 0;
};

// One row: e = exp(x - max(x)); y = e / sum(e), the sum in the order of quant/reduce_f32.h.
struct SoftmaxArgs {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t n = 0;
};

// One row of int8: e[i] = table[max(x) - x[i]], a float32 table of exp(-scale_x * d), d = 0..255;
// m = (1 / sum(e)) / scale_y;  y[i] = round_clamp(e[i] * m).
struct SoftmaxS8Args {
  const act_t* x = nullptr;
  const float* table = nullptr;  // [256]
  act_t* y = nullptr;
  int64_t n = 0;
  float scale_y = 1.0f;
  OutputClamp clamp;
};

struct Kernel {
  const char* name;  // elementwise_f32_<isa>
  Isa isa;
  void (*binary)(Binary, const BinaryArgs&);
  void (*unary)(const UnaryArgs&);
  void (*prelu)(const PreluArgs&);
  void (*softmax)(const SoftmaxArgs&);
  void (*softmax_s8)(const SoftmaxS8Args&);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::elementwise_f32
