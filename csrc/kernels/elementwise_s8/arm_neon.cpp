// elementwise_s8 with Armv8.0 NEON: 16 elements at once; the last ones go through buffers on the
// stack (nothing is read or written past the end).
//
// Tables: TBL looks an index up in 64 bytes and gives 0 outside of them, TBX leaves its result
// alone there; so four of them, with the index moved down by 64 each time, cover 256 bytes.
#include "kernels/elementwise_s8/elementwise_s8_kernels.h"
#include "kernels/epilogue_neon.h"
#include "kernels/inlining.h"

namespace zeropoint::elementwise_s8 {
namespace {

constexpr int kWidth = 16;

// One operand of a binary operation, less its zero point: a run, or one value for all elements.
template <int kStep>
struct Operand {
  int8x8_t zero;
  int16x8_t constant;

  ZEROPOINT_INLINE Operand(const act_t* x, int32_t zero_point)
      : zero(vdup_n_s8(static_cast<int8_t>(zero_point))),
        constant(vdupq_n_s16(static_cast<int16_t>(kStep == 0 ? x[0] - zero_point : 0))) {}

  ZEROPOINT_INLINE void center(int8x16_t q, int16x8_t (&out)[2]) const {
    if (kStep == 0) {
      out[0] = out[1] = constant;
    } else {
      out[0] = vsubl_s8(vget_low_s8(q), zero);
      out[1] = vsubl_high_s8(q, vcombine_s8(zero, zero));
    }
  }
};

// y = round_clamp(scaled(a, b)) element by element, where scaled takes eight centered elements of
// each operand to two vectors.
template <int kStepA, int kStepB, typename Scaled>
ZEROPOINT_INLINE void for_binary_blocks(const BinaryArgs& args, const Scaled& scaled) {
  const Operand<kStepA> operand_a(args.a, args.zero_a);
  const Operand<kStepB> operand_b(args.b, args.zero_b);
  const NeonEpilogue epilogue = neon_epilogue(args.clamp);
  const act_t *a = args.a, *b = args.b;
  act_t* y = args.y;
  const auto block = [&](int8x16_t qa, int8x16_t qb) ZEROPOINT_LAMBDA {
    int16x8_t u[2], v[2];
    operand_a.center(qa, u);
    operand_b.center(qb, v);
    float32x4_t sums[4];
    scaled(u[0], v[0], sums[0], sums[1]);
    scaled(u[1], v[1], sums[2], sums[3]);
    return neon_round_clamp(sums[0], sums[1], sums[2], sums[3], epilogue);
  };
  const int8x16_t unused = vdupq_n_s8(0);
  const int64_t n = args.n;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    vst1q_s8(y + i,
             block(kStepA == 0 ? unused : vld1q_s8(a + i), kStepB == 0 ? unused : vld1q_s8(b + i)));
  }
  if (i < n) {
    const auto rest = static_cast<int>(n - i);
    neon_store_first(y + i,
                     block(kStepA == 0 ? unused : neon_load_first(a + i, rest),
                           kStepB == 0 ? unused : neon_load_first(b + i, rest)),
                     rest);
  }
}

ZEROPOINT_INLINE float32x4_t to_float_low(int16x8_t v) {
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(v)));
}
ZEROPOINT_INLINE float32x4_t to_float_high(int16x8_t v) { return vcvtq_f32_s32(vmovl_high_s16(v)); }

template <int kStepA, int kStepB>
void add_steps(const BinaryArgs& args) {
  const float32x4_t ma = vdupq_n_f32(args.multiplier_a), mb = vdupq_n_f32(args.multiplier_b);
  for_binary_blocks<kStepA, kStepB>(
      args, [=](int16x8_t a, int16x8_t b, float32x4_t& lo, float32x4_t& hi) ZEROPOINT_LAMBDA {
        // Each product is rounded; huge multipliers may give inf - inf, which counts as 0.
        lo = vaddq_f32(vmulq_f32(to_float_low(a), ma), vmulq_f32(to_float_low(b), mb));
        hi = vaddq_f32(vmulq_f32(to_float_high(a), ma), vmulq_f32(to_float_high(b), mb));
      });
}

template <int kStepA, int kStepB>
void mul_steps(const BinaryArgs& args) {
  const float32x4_t m = vdupq_n_f32(args.multiplier_a);
  for_binary_blocks<kStepA, kStepB>(
      args, [=](int16x8_t a, int16x8_t b, float32x4_t& lo, float32x4_t& hi) ZEROPOINT_LAMBDA {
        lo = neon_scale(vmull_s16(vget_low_s16(a), vget_low_s16(b)), m);
        hi = neon_scale(vmull_high_s16(a, b), m);
      });
}

void add(const BinaryArgs& args) {
  if (args.n <= 0) return;
  if (args.a_step == 0) {
    args.b_step == 0 ? add_steps<0, 0>(args) : add_steps<0, 1>(args);
  } else {
    args.b_step == 0 ? add_steps<1, 0>(args) : add_steps<1, 1>(args);
  }
}

void mul(const BinaryArgs& args) {
  if (args.n <= 0) return;
  if (args.a_step == 0) {
    args.b_step == 0 ? mul_steps<0, 0>(args) : mul_steps<0, 1>(args);
  } else {
    args.b_step == 0 ? mul_steps<1, 0>(args) : mul_steps<1, 1>(args);
  }
}

void lookup(const LookupArgs& args) {
  // The table begins with the entry of -128; indexed by the byte as it is, that of 0 comes first.
  const int8x16x4_t from_0 = vld1q_s8_x4(args.table + 128);
  const int8x16x4_t from_64 = vld1q_s8_x4(args.table + 192);
  const int8x16x4_t from_128 = vld1q_s8_x4(args.table);
  const int8x16x4_t from_192 = vld1q_s8_x4(args.table + 64);
  const uint8x16_t k64 = vdupq_n_u8(64), k128 = vdupq_n_u8(128), k192 = vdupq_n_u8(192);
  const auto block = [&](int8x16_t q) ZEROPOINT_LAMBDA {
    const uint8x16_t x = vreinterpretq_u8_s8(q);
    const int8x16_t low = vqtbx4q_s8(vqtbl4q_s8(from_0, x), from_64, vsubq_u8(x, k64));
    return vqtbx4q_s8(vqtbx4q_s8(low, from_128, vsubq_u8(x, k128)), from_192, vsubq_u8(x, k192));
  };
  const act_t* x = args.x;
  act_t* y = args.y;
  const int64_t n = args.n;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) vst1q_s8(y + i, block(vld1q_s8(x + i)));
  if (i < n) {
    const auto rest = static_cast<int>(n - i);
    neon_store_first(y + i, block(neon_load_first(x + i, rest)), rest);
  }
}

void quantize(const QuantizeArgs& args) {
  const float32x4_t scale = vdupq_n_f32(args.scale);
  const NeonEpilogue epilogue = neon_epilogue(args.clamp);
  const auto block = [&](const float* x) ZEROPOINT_LAMBDA {
    float32x4_t v[4];
    for (int k = 0; k < 4; ++k) v[k] = vdivq_f32(vld1q_f32(x + 4 * k), scale);
    return neon_round_clamp(v[0], v[1], v[2], v[3], epilogue);
  };
  const float* x = args.x;
  act_t* y = args.y;
  const int64_t n = args.n;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) vst1q_s8(y + i, block(x + i));
  if (i < n) {
    const auto rest = static_cast<int>(n - i);
    float last[kWidth] = {};
    __builtin_memcpy(last, x + i, static_cast<size_t>(rest) * sizeof(float));
    neon_store_first(y + i, block(last), rest);
  }
}

void dequantize(const DequantizeArgs& args) {
  const float32x4_t scale = vdupq_n_f32(args.params.scale);
  const int8x8_t zero_point = vdup_n_s8(static_cast<int8_t>(args.params.zero_point));
  const act_t* x = args.x;
  float* y = args.y;
  const int64_t n = args.n;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    const int8x16_t q = vld1q_s8(x + i);
    const int16x8_t lo = vsubl_s8(vget_low_s8(q), zero_point);
    const int16x8_t hi = vsubl_high_s8(q, vcombine_s8(zero_point, zero_point));
    vst1q_f32(y + i, vmulq_f32(to_float_low(lo), scale));
    vst1q_f32(y + i + 4, vmulq_f32(to_float_high(lo), scale));
    vst1q_f32(y + i + 8, vmulq_f32(to_float_low(hi), scale));
    vst1q_f32(y + i + 12, vmulq_f32(to_float_high(hi), scale));
  }
  for (; i < n; ++i) {
    y[i] =
        static_cast<float>(static_cast<int32_t>(x[i]) - args.params.zero_point) * args.params.scale;
  }
}

constexpr Kernel kKernels[] = {
    {"elementwise_s8_16_neon", Isa::neon, add, mul, lookup, quantize, dequantize}};

}  // namespace

KernelSpan<Kernel> arm_neon_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::elementwise_s8
