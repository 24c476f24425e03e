// elementwise_s8 in C++. Operand steps are compile-time constants in the loops, and everything else
// is copied to locals (a store of bytes may alias the arguments), so that a compiler can vectorize.
#include "kernels/elementwise_s8/elementwise_s8_kernels.h"
#include "kernels/epilogue_portable.h"

namespace zeropoint::elementwise_s8 {
namespace {

// A sum of two scaled operands may be inf - inf when the multipliers are huge.
inline float nan_to_zero(float v) { return v == v ? v : 0.0f; }

template <int kStepA, int kStepB>
void add_steps(const BinaryArgs& args) {
  const PortableEpilogue epilogue = portable_epilogue(args.clamp);
  const act_t *a = args.a, *b = args.b;
  const int32_t zero_a = args.zero_a, zero_b = args.zero_b;
  const float ma = args.multiplier_a, mb = args.multiplier_b;
  act_t* y = args.y;
  const int64_t n = args.n;
  for (int64_t i = 0; i < n; ++i) {
    const float u = static_cast<float>(a[i * kStepA] - zero_a) * ma;
    const float v = static_cast<float>(b[i * kStepB] - zero_b) * mb;
    y[i] = portable_round_clamp(nan_to_zero(u + v), epilogue);
  }
}

template <int kStepA, int kStepB>
void mul_steps(const BinaryArgs& args) {
  const PortableEpilogue epilogue = portable_epilogue(args.clamp);
  const act_t *a = args.a, *b = args.b;
  const int32_t zero_a = args.zero_a, zero_b = args.zero_b;
  const float m = args.multiplier_a;
  act_t* y = args.y;
  const int64_t n = args.n;
  for (int64_t i = 0; i < n; ++i) {
    // |difference| <= 255: the product of the two floats is the exact integer.
    const float u = static_cast<float>(a[i * kStepA] - zero_a);
    const float v = static_cast<float>(b[i * kStepB] - zero_b);
    y[i] = portable_round_clamp((u * v) * m, epilogue);
  }
}

void add(const BinaryArgs& args) {
  if (args.a_step == 0) {
    args.b_step == 0 ? add_steps<0, 0>(args) : add_steps<0, 1>(args);
  } else {
    args.b_step == 0 ? add_steps<1, 0>(args) : add_steps<1, 1>(args);
  }
}

void mul(const BinaryArgs& args) {
  if (args.a_step == 0) {
    args.b_step == 0 ? mul_steps<0, 0>(args) : mul_steps<0, 1>(args);
  } else {
    args.b_step == 0 ? mul_steps<1, 0>(args) : mul_steps<1, 1>(args);
  }
}

void lookup(const LookupArgs& args) {
  const act_t* table = args.table - kActMin;
  const act_t* x = args.x;
  act_t* y = args.y;
  const int64_t n = args.n;
  for (int64_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

void quantize(const QuantizeArgs& args) {
  const PortableEpilogue epilogue = portable_epilogue(args.clamp);
  const float* x = args.x;
  act_t* y = args.y;
  const float scale = args.scale;
  const int64_t n = args.n;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = portable_round_clamp(nan_to_zero(x[i] / scale), epilogue);
  }
}

void dequantize(const DequantizeArgs& args) {
  const act_t* x = args.x;
  float* y = args.y;
  const int32_t zero_point = args.params.zero_point;
  const float scale = args.params.scale;
  const int64_t n = args.n;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(static_cast<int32_t>(x[i]) - zero_point) * scale;
  }
}

constexpr Kernel kKernels[] = {
    {"elementwise_s8_1_portable", Isa::portable, add, mul, lookup, quantize, dequantize}};

}  // namespace

KernelSpan<Kernel> portable_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::elementwise_s8
