// The float32 functions of elementwise_f32, one scalar at a time.
//
// Every operation below is one separately rounded IEEE float32 operation; there is no fma, no call
// into a math library, and no branch: both sides of a choice are computed and one is selected, so
// a compiler may turn a loop over any of these into vector code of any width without changing a
// bit. python/zeropoint/float_math.py repeats them operation by operation.
//
// Errors in units in the last place of the exact result, the worst of one in 37 of all float32:
//   exp 0.97, log 0.83, tanh 1.31, erf 1.32, sigmoid 2.4, softplus 2.1. Denormal results of exp are
//   rounded once.
// Polynomials: minimax fits of relative error < 1e-8 on the interval named, coefficients rounded
// to float32.
#pragma once

#include <cstdint>

namespace zeropoint::elementwise_f32 {

static inline uint32_t float_bits(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}
static inline float bits_float(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}

// c ? a : b by masking bits, which every compiler vectorizes without any flag.
static inline float select(bool c, float a, float b) {
  const uint32_t m = -static_cast<uint32_t>(c);
  return bits_float((float_bits(a) & m) | (float_bits(b) & ~m));
}
static inline float min_f32(float x, float hi) {
  return select(x > hi, hi, x);
}  // a NaN passes through
static inline float max_f32(float x, float lo) { return select(x < lo, lo, x); }
static inline float abs_f32(float x) { return bits_float(float_bits(x) & 0x7fffffffu); }

// |magnitude| with the sign of x; magnitude must not be negative.
static inline float with_sign(float magnitude, float x) {
  return bits_float(float_bits(magnitude) | (float_bits(x) & 0x80000000u));
}

// 2^k for -126 <= k <= 127, k as a two's complement number.
static inline float power_of_two(uint32_t k) { return bits_float((k + 127u) << 23); }

// x = k ln 2 + r with |r| <= 0.3475. Adding 1.5 * 2^23 rounds to an integer (ties to even) and
// leaves it in the low bits of the significand. ln 2 is split so that k times its high part
// (9 significant bits) is exact.
struct ExpReduced {
  float r;
  uint32_t k;
};
inline constexpr float kLn2High = 0.693359375f;
inline constexpr float kLn2Low = -2.12194440e-4f;

static inline ExpReduced reduce_exp(float x) {
  const float shift = 12582912.0f;
  const float shifted = x * 1.44269502f + shift;
  const float n = shifted - shift;
  ExpReduced out;
  out.r = (x - n * kLn2High) - n * kLn2Low;
  out.k = float_bits(shifted) - 0x4b400000u;
  return out;
}

// exp(r) - 1 for |r| <= 0.3475.
static inline float expm1_reduced(float r) {
  float p = 1.38142193e-3f;
  p = p * r + 8.36889911e-3f;
  p = p * r + 4.16684076e-2f;
  p = p * r + 1.66665196e-1f;
  p = p * r + 4.99999940e-1f;
  return p * (r * r) + r;
}

// exp. Overflows to inf above ln(FLT_MAX); below, denormals and then 0.
static inline float exp_f32(float x) {
  const ExpReduced e = reduce_exp(max_f32(min_f32(x, 89.0f), -104.0f));
  const float p = expm1_reduced(e.r) + 1.0f;
  // 2^k in two factors, since k may be 128 or below -126; the last product alone may round.
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(e.k) >> 1);
  return (p * power_of_two(half)) * power_of_two(e.k - half);
}

// exp(x) - 1 for x <= 0 (a greater x counts as 0): no cancellation near 0.
static inline float expm1_nonpositive(float x) {
  const ExpReduced e = reduce_exp(max_f32(min_f32(x, 0.0f), -30.0f));
  const float two_k = power_of_two(e.k);
  return two_k * expm1_reduced(e.r) + (two_k - 1.0f);
}

// Natural logarithm. log(0) = -inf, log(x < 0) = NaN.
static inline float log_f32(float x) {
  const bool denormal = x < 0x1p-126f;
  const float scaled = x * 0x1p23f;
  const uint32_t u = float_bits(select(denormal, scaled, x));
  // x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2).
  const int32_t k = static_cast<int32_t>(u - 0x3f3504f3u) >> 23;
  const float f = bits_float(u - (static_cast<uint32_t>(k) << 23)) - 1.0f;
  const float n = static_cast<float>(k) - (select(denormal, 23.0f, 0.0f));
  float p = -7.64603764e-2f;
  p = p * f + 1.27790883e-1f;
  p = p * f + -1.31641984e-1f;
  p = p * f + 1.41996995e-1f;
  p = p * f + -1.66227639e-1f;
  p = p * f + 2.00012922e-1f;
  p = p * f + -2.50008374e-1f;
  p = p * f + 3.33333313e-1f;
  const float f2 = f * f;
  const float tail = (p * (f * f2) + n * kLn2Low) - 0.5f * f2;
  const float result = (f + tail) + n * kLn2High;
  const float finite = select(x < __builtin_inff(), result, x);  // inf and NaN pass through
  const float special = select(x == 0.0f, -__builtin_inff(), __builtin_nanf(""));
  return select(x > 0.0f, finite, special);
}

// log(1 + x) for 0 <= x <= 1; the second term restores what rounding 1 + x lost.
static inline float log1p_unit(float x) {
  const float u = 1.0f + x;
  return log_f32(u) + (x - (u - 1.0f)) / u;
}

static inline float tanh_f32(float x) {
  const float a = abs_f32(x);
  const float z = a * a;  // |x| < 0.625: x + x^3 P(x^2)
  float p = -5.70452213e-3f;
  p = p * z + 2.06386875e-2f;
  p = p * z + -5.37395962e-2f;
  p = p * z + 1.33314416e-1f;
  p = p * z + -3.33332807e-1f;
  const float near_zero = (p * z) * a + a;
  const float away = 1.0f - 2.0f / (exp_f32(a + a) + 1.0f);
  return with_sign(select(a < 0.625f, near_zero, away), x);
}

static inline float erf_f32(float x) {
  const float a = abs_f32(x);
  const float z = a * a;  // |x| < 0.875: x + x P(x^2)
  float p = 8.67538984e-5f;
  p = p * z + -8.21110327e-4f;
  p = p * z + 5.20674745e-3f;
  p = p * z + -2.68615838e-2f;
  p = p * z + 1.12837330e-1f;
  p = p * z + -3.76126349e-1f;
  p = p * z + 1.28379166e-1f;
  const float near_zero = p * a + a;
  const float b = min_f32(a, 4.0f);  // erf(4) rounds to 1; else 1 - exp(ln erfc(a)), a polynomial
  float q = -2.04514618e-5f;
  q = q * b + 4.27084102e-4f;
  q = q * b + -4.13565012e-3f;
  q = q * b + 2.50271540e-2f;
  q = q * b + -1.08139046e-1f;
  q = q * b + -6.33473456e-1f;
  q = q * b + -1.12945318f;
  q = q * b + 1.62025972e-4f;
  const float away = 1.0f - exp_f32(q);
  return with_sign(select(a < 0.875f, near_zero, away), x);
}

// 1 / (1 + exp(-x)), from exp(-|x|) so that neither side overflows or cancels.
static inline float sigmoid_f32(float x) {
  const float e = exp_f32(-abs_f32(x));
  return (select(x < 0.0f, e, 1.0f)) / (1.0f + e);
}

static inline float silu_f32(float x) { return x * sigmoid_f32(x); }

static inline float gelu_f32(float x) { return (0.5f * x) * (1.0f + erf_f32(x * 0.707106769f)); }

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
static inline float gelu_tanh_f32(float x) {
  const float inner = 0.797884583f * (x + 0.044715f * ((x * x) * x));
  return (0.5f * x) * (1.0f + tanh_f32(inner));
}

// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))
static inline float softplus_f32(float x) {
  return (select(x > 0.0f, x, 0.0f)) + log1p_unit(exp_f32(-abs_f32(x)));
}

// tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2) with e = exp(x); 1 to the last bit from x = 20 on.
static inline float mish_f32(float x) {
  const float e = exp_f32(min_f32(x, 20.0f));
  const float n = e * (e + 2.0f);
  return x * (n / (n + 2.0f));
}

static inline float elu_f32(float x, float alpha) {
  const float negative = alpha * expm1_nonpositive(x);
  return select(x < 0.0f, negative, x);
}

static inline float hard_sigmoid_f32(float x, float alpha, float beta) {
  return max_f32(min_f32(alpha * x + beta, 1.0f), 0.0f);
}

static inline float hard_swish_f32(float x) { return x * hard_sigmoid_f32(x, 0.166666672f, 0.5f); }

static inline float leaky_relu_f32(float x, float alpha) {
  const float negative = alpha * x;
  return select(x < 0.0f, negative, x);
}

}  // namespace zeropoint::elementwise_f32
