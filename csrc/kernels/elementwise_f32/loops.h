// The loops of elementwise_f32: included by each ISA file, which compiles them for its own vectors.
//
// Everything is file-local. Where a function's steps are per element, the compiler vectorizes a
// plain loop; where the order matters (sums), the 16 virtual lanes of quant/reduce_f32.h are
// written out.
#pragma once

#include <cstdint>

#include "kernels/elementwise_f32/elementwise_f32.h"
#include "kernels/elementwise_f32/math_f32.h"
#include "quant/reduce_f32.h"
#include "quant/requantize.h"

// An output may be one of the inputs (in place), never a shifted view of one: no iteration reads
// what another writes.
#if defined(__clang__)
#define ZEROPOINT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ZEROPOINT_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace zeropoint::elementwise_f32 {
namespace {

template <typename F>
void map(const UnaryArgs& args, F f) {
  const float* x = args.x;
  float* y = args.y;
  const int64_t n = args.n;
  ZEROPOINT_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

// Compilers vectorize this one only where they may forget errno (-fno-math-errno); the instruction
// is correctly rounded either way.
void square_root(const UnaryArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) args.y[i] = __builtin_sqrtf(args.x[i]);
}

// Integer exponents by binary powers, from the lowest bit up; halves by the square root; any other
// as exp(exponent * log(x)).
void power(const UnaryArgs& args, float exponent) {
  const float size = abs_f32(exponent);
  if (size == 0.5f) {
    square_root(args);
  } else if (size <= 64.0f && size == static_cast<float>(static_cast<int>(size))) {
    const auto bits = static_cast<unsigned>(size);
    map(args, [bits](float x) {
      float y = 1.0f;
      for (unsigned rest = bits; rest != 0; rest >>= 1, x *= x) {
        if ((rest & 1) != 0) y *= x;
      }
      return y;
    });
  } else {
    return map(args, [=](float x) { return exp_f32(exponent * log_f32(x)); });
  }
  if (exponent < 0.0f) {
    UnaryArgs result = args;
    result.x = args.y;
    map(result, [](float x) { return 1.0f / x; });
  }
}

void unary(const UnaryArgs& args) {
  const float alpha = args.alpha, beta = args.beta;
  switch (args.function) {
    case Unary::abs:
      return map(args, [](float x) { return abs_f32(x); });
    case Unary::clip:
      return map(args, [=](float x) { return min_f32(max_f32(x, alpha), beta); });
    case Unary::elu:
      return map(args, [=](float x) { return elu_f32(x, alpha); });
    case Unary::erf:
      return map(args, [](float x) { return erf_f32(x); });
    case Unary::exp:
      return map(args, [](float x) { return exp_f32(x); });
    case Unary::gelu:
      return map(args, [](float x) { return gelu_f32(x); });
    case Unary::gelu_tanh:
      return map(args, [](float x) { return gelu_tanh_f32(x); });
    case Unary::hard_sigmoid:
      return map(args, [=](float x) { return hard_sigmoid_f32(x, alpha, beta); });
    case Unary::hard_swish:
      return map(args, [](float x) { return hard_swish_f32(x); });
    case Unary::leaky_relu:
      return map(args, [=](float x) { return leaky_relu_f32(x, alpha); });
    case Unary::log:
      return map(args, [](float x) { return log_f32(x); });
    case Unary::mish:
      return map(args, [](float x) { return mish_f32(x); });
    case Unary::neg:
      return map(args, [](float x) { return -x; });
    case Unary::pow:
      return power(args, alpha);
    case Unary::relu:
      return map(args, [](float x) { return max_f32(x, 0.0f); });
    case Unary::sigmoid:
      return map(args, [](float x) { return sigmoid_f32(x); });
    case Unary::silu:
      return map(args, [](float x) { return silu_f32(x); });
    case Unary::softplus:
      return map(args, [](float x) { return softplus_f32(x); });
    case Unary::sqrt:
      return square_root(args);
    case Unary::tanh:
      return map(args, [](float x) { return tanh_f32(x); });
  }
}

template <typename F>
void zip(const BinaryArgs& args, F f) {
  const float* a = args.a;
  const float* b = args.b;
  float* y = args.y;
  const int64_t n = args.n;
  const float lo = args.lo, hi = args.hi;
  if (n <= 0) return;
  const float a0 = a[0], b0 = b[0];
  if (args.a_step != 0 && args.b_step != 0) {
    ZEROPOINT_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = min_f32(max_f32(f(a[i], b[i]), lo), hi);
  } else if (args.a_step != 0) {
    ZEROPOINT_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = min_f32(max_f32(f(a[i], b0), lo), hi);
  } else if (args.b_step != 0) {
    ZEROPOINT_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = min_f32(max_f32(f(a0, b[i]), lo), hi);
  } else {
    const float value = min_f32(max_f32(f(a0, b0), lo), hi);
    for (int64_t i = 0; i < n; ++i) y[i] = value;
  }
}

void binary(Binary function, const BinaryArgs& args) {
  switch (function) {
    case Binary::add:
      return zip(args, [](float a, float b) { return a + b; });
    case Binary::sub:
      return zip(args, [](float a, float b) { return a - b; });
    case Binary::mul:
      return zip(args, [](float a, float b) { return a * b; });
    case Binary::div:
      return zip(args, [](float a, float b) { return a / b; });
    case Binary::max:
      return zip(args, [](float a, float b) { return select(a >= b || a != a, a, b); });
    case Binary::min:
      return zip(args, [](float a, float b) { return select(a <= b || a != a, a, b); });
  }
}

void prelu(const PreluArgs& args) {
  const float* x = args.x;
  const float* slope = args.slope;
  float* y = args.y;
  const int64_t n = args.n;
  if (n <= 0) return;
  if (args.slope_step != 0) {
    ZEROPOINT_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = leaky_relu_f32(x[i], slope[i]);
  } else {
    const float alpha = slope[0];
    ZEROPOINT_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = leaky_relu_f32(x[i], alpha);
  }
}

// The greatest element; NaNs are skipped (they come back through the subtraction that follows).
float row_max(const float* x, int64_t n) {
  float lanes[kReduceLanes];
  for (float& lane : lanes) lane = -__builtin_inff();
  int64_t i = 0;
  for (; i + kReduceLanes <= n; i += kReduceLanes) {
    for (int j = 0; j < kReduceLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  float top = lanes[0];
  for (int j = 1; j < kReduceLanes; ++j) top = lanes[j] > top ? lanes[j] : top;
  return top;
}

float row_sum(const float* x, int64_t n) {
  float lanes[kReduceLanes] = {};
  int64_t i = 0;
  for (; i + kReduceLanes <= n; i += kReduceLanes) {
    for (int j = 0; j < kReduceLanes; ++j) lanes[j] += x[i + j];
  }
  for (int j = 0; i < n; ++i, ++j) lanes[j] += x[i];
  return combine_lanes(lanes);
}

void softmax(const SoftmaxArgs& args) {
  const float* x = args.x;
  float* y = args.y;
  const int64_t n = args.n;
  const float top = row_max(x, n);
  ZEROPOINT_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = exp_f32(x[i] - top);
  const float sum = row_sum(y, n);
  ZEROPOINT_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] / sum;
}

// y[i] = round_clamp(e[i] * m): the rule of quant/requantize.h in a form that vectorizes. The
// clamped value is below 2^22 in magnitude, so adding 1.5 * 2^23 rounds it to an integer, ties to
// even.
void round_clamp_run(const float* e, float m, const OutputClamp& out, act_t* y, int64_t n) {
  const float lo = static_cast<float>(out.qmin - out.zero_point);
  const float hi = static_cast<float>(out.qmax - out.zero_point);
  const uint32_t offset = static_cast<uint32_t>(out.zero_point) - 0x4b400000u;
  for (int64_t i = 0; i < n; ++i) {
    const float product = e[i] * m;
    const float value = select(product == product, product, 0.0f);
    const float clamped = min_f32(max_f32(value, lo), hi);
    y[i] = static_cast<act_t>(float_bits(clamped + 12582912.0f) + offset);
  }
}

void softmax_s8(const SoftmaxS8Args& args) {
  const act_t* x = args.x;
  const float* table = args.table;
  act_t* y = args.y;
  const int64_t n = args.n;
  int top = kActMin;
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  float lanes[kReduceLanes] = {};
  int64_t i = 0;
  for (; i + kReduceLanes <= n; i += kReduceLanes) {
    for (int j = 0; j < kReduceLanes; ++j) lanes[j] += table[top - x[i + j]];
  }
  for (int j = 0; i < n; ++i, ++j) lanes[j] += table[top - x[i]];
  const float m = (1.0f / combine_lanes(lanes)) / args.scale_y;
  // An element's result depends on its value alone: 256 of them serve a row of any length.
  act_t results[256];
  round_clamp_run(table, m, args.clamp, results, 256);
  for (i = 0; i < n; ++i) y[i] = results[top - x[i]];
}

}  // namespace
}  // namespace zeropoint::elementwise_f32

#undef ZEROPOINT_INDEPENDENT
