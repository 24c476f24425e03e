#include "reference/f32.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/elementwise_f32/math_f32.h"
#include "quant/reduce_f32.h"
#include "quant/requantize.h"

namespace zeropoint::reference {
namespace {

float clamp(float y, float lo, float hi) {
  if (y < lo) y = lo;
  if (y > hi) y = hi;
  return y;
}

// x^exponent for the exponents that are computed by multiplication, and their neighbours.
float power(float x, float exponent) {
  const float size = std::fabs(exponent);
  float y = 1.0f;
  if (size == 0.5f) {
    y = std::sqrt(x);
  } else if (size <= 64.0f && size == std::floor(size)) {
    float square = x;
    for (int rest = static_cast<int>(size); rest > 0; rest /= 2) {
      if (rest % 2 == 1) y = y * square;
      square = square * square;
    }
  } else {
    return elementwise_f32::exp_f32(exponent * elementwise_f32::log_f32(x));
  }
  return exponent < 0.0f ? 1.0f / y : y;
}

float evaluate(const elementwise_f32::UnaryArgs& args, float x) {
  using elementwise_f32::Unary;
  namespace f = elementwise_f32;
  switch (args.function) {
    case Unary::abs:
      return std::fabs(x);
    case Unary::clip:
      return clamp(x, args.alpha, args.beta);
    case Unary::elu:
      return f::elu_f32(x, args.alpha);
    case Unary::erf:
      return f::erf_f32(x);
    case Unary::exp:
      return f::exp_f32(x);
    case Unary::gelu:
      return f::gelu_f32(x);
    case Unary::gelu_tanh:
      return f::gelu_tanh_f32(x);
    case Unary::hard_sigmoid:
      return clamp(args.alpha * x + args.beta, 0.0f, 1.0f);
    case Unary::hard_swish:
      return x * clamp(x * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f);
    case Unary::leaky_relu:
      return x < 0.0f ? args.alpha * x : x;
    case Unary::log:
      return f::log_f32(x);
    case Unary::mish:
      return f::mish_f32(x);
    case Unary::neg:
      return -x;
    case Unary::pow:
      return power(x, args.alpha);
    case Unary::relu:
      return x < 0.0f ? 0.0f : x;
    case Unary::sigmoid:
      return f::sigmoid_f32(x);
    case Unary::silu:
      return x * f::sigmoid_f32(x);
    case Unary::softplus:
      return f::softplus_f32(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::tanh:
      return f::tanh_f32(x);
  }
  return std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

void run_gemm_f32(const gemm_f32::PackArgs& weights, const gemm_f32::RunArgs& args) {
  for (int64_t m = args.m_begin; m < args.m_end; ++m) {
    for (int n = args.n_begin; n < args.n_end; ++n) {
      float acc = weights.bias == nullptr ? 0.0f : weights.bias[n];
      for (int t = 0; t < weights.taps; ++t) {
        const float* a = row_run(args.a, m, t);
        for (int d = 0; d < weights.depth; ++d) {
          const ptrdiff_t k = static_cast<ptrdiff_t>(t) * weights.depth + d;
          const float w = weights.weights[n * weights.n_stride + k * weights.k_stride];
          acc = std::fma(a[d], w, acc);
        }
      }
      args.c[m * args.c_stride + n] = clamp(acc, args.lo, args.hi);
    }
  }
}

void run_depthwise_f32(const depthwise_f32::RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    for (int c = 0; c < args.x.depth; ++c) {
      float acc = args.bias[c];
      for (int t = 0; t < args.x.taps; ++t) {
        acc += row_run(args.x, p, t)[c] * args.weights[t * args.x.depth + c];
      }
      args.y[p * args.y_stride + c] = clamp(acc, args.lo, args.hi);
    }
  }
}

void run_max_pool_f32(const pool_f32::RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    for (int c = 0; c < args.x.depth; ++c) {
      float y = -std::numeric_limits<float>::infinity();
      for (int t = 0; t < args.x.taps; ++t) {
        const float x = row_run(args.x, p, t)[c];
        if (x > y) y = x;
      }
      args.y[p * args.y_stride + c] = y;
    }
  }
}

void run_mean_pool_f32(const pool_f32::RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    for (int c = 0; c < args.x.depth; ++c) {
      float sum = 0.0f;
      for (int t = 0; t < args.x.taps; ++t) sum += row_run(args.x, p, t)[c];
      args.y[p * args.y_stride + c] = sum * args.multiplier[p];
    }
  }
}

void run_binary_f32(elementwise_f32::Binary function, const elementwise_f32::BinaryArgs& args) {
  using elementwise_f32::Binary;
  for (int64_t i = 0; i < args.n; ++i) {
    const float a = args.a[i * args.a_step], b = args.b[i * args.b_step];
    float y = 0.0f;
    switch (function) {
      case Binary::add:
        y = a + b;
        break;
      case Binary::sub:
        y = a - b;
        break;
      case Binary::mul:
        y = a * b;
        break;
      case Binary::div:
        y = a / b;
        break;
      case Binary::max:
        y = std::isnan(a) || a >= b ? a : b;
        break;
      case Binary::min:
        y = std::isnan(a) || a <= b ? a : b;
        break;
    }
    args.y[i] = clamp(y, args.lo, args.hi);
  }
}

void run_unary_f32(const elementwise_f32::UnaryArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) args.y[i] = evaluate(args, args.x[i]);
}

void run_prelu_f32(const elementwise_f32::PreluArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    const float x = args.x[i];
    args.y[i] = x < 0.0f ? args.slope[i * args.slope_step] * x : x;
  }
}

void run_softmax_f32(const elementwise_f32::SoftmaxArgs& args) {
  float top = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < args.n; ++i) {
    if (args.x[i] > top) top = args.x[i];
  }
  std::vector<float> e(static_cast<size_t>(args.n));
  for (int64_t i = 0; i < args.n; ++i) {
    e[static_cast<size_t>(i)] = elementwise_f32::exp_f32(args.x[i] - top);
  }
  const float sum = sum_f32(e.data(), args.n);
  for (int64_t i = 0; i < args.n; ++i) args.y[i] = e[static_cast<size_t>(i)] / sum;
}

void run_softmax_s8(const elementwise_f32::SoftmaxS8Args& args) {
  const act_t top = *std::max_element(args.x, args.x + args.n);
  std::vector<float> e(static_cast<size_t>(args.n));
  for (int64_t i = 0; i < args.n; ++i) e[static_cast<size_t>(i)] = args.table[top - args.x[i]];
  const float m = (1.0f / sum_f32(e.data(), args.n)) / args.scale_y;
  for (int64_t i = 0; i < args.n; ++i) {
    args.y[i] = round_clamp(e[static_cast<size_t>(i)] * m, args.clamp);
  }
}

}  // namespace zeropoint::reference
