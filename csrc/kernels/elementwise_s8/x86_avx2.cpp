// elementwise_s8 with AVX2: 32 elements at once; the last ones go through buffers on the stack
// (nothing is read or written past the end).
//
// Bytes become floats by sitting in the mantissa of 2^23: the bits 0x4B000000 | q are 8388608 + q,
// from which 8388608 + zero_point is subtracted exactly. The unpack order is undone by the packs.
// Tables: sixteen vpshufb over rows of 16 entries, and a tree of blends by the index's upper bits.
#include <cstring>

#include "kernels/elementwise_s8/elementwise_s8_kernels.h"
#include "kernels/epilogue_avx2.h"
#include "kernels/inlining.h"

namespace zeropoint::elementwise_s8 {
namespace {

constexpr int kWidth = 32;

ZEROPOINT_INLINE __m256i load(const act_t* x) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}
ZEROPOINT_INLINE void store(act_t* y, __m256i v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), v);
}

// 32 bytes -> 4 x 8 floats q - zero, in unpack order; `biased_zero` is 8388608 + zero.
ZEROPOINT_INLINE void widen(__m256i q, __m256 biased_zero, __m256 out[4]) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i exponent = _mm256_set1_epi16(0x4B00);
  const __m256i lo = _mm256_unpacklo_epi8(q, zero);
  const __m256i hi = _mm256_unpackhi_epi8(q, zero);
  out[0] = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_unpacklo_epi16(lo, exponent)), biased_zero);
  out[1] = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_unpackhi_epi16(lo, exponent)), biased_zero);
  out[2] = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_unpacklo_epi16(hi, exponent)), biased_zero);
  out[3] = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_unpackhi_epi16(hi, exponent)), biased_zero);
}

ZEROPOINT_INLINE __m256 biased(int32_t zero) {
  return _mm256_set1_ps(8388608.0f + static_cast<float>(zero));
}

ZEROPOINT_INLINE void nan_to_zero(__m256 v[4]) {
  for (int k = 0; k < 4; ++k) v[k] = _mm256_and_ps(v[k], _mm256_cmp_ps(v[k], v[k], _CMP_ORD_Q));
}

// Can a sum of two scaled operands be inf - inf? Only when a product of one of these multipliers
// and a difference of up to 255 can leave float32.
bool sum_may_be_nan(float multiplier_a, float multiplier_b) {
  constexpr float kSafe = 1e30f;
  return !(multiplier_a < kSafe && multiplier_a > -kSafe && multiplier_b < kSafe &&
           multiplier_b > -kSafe);
}

// One operand of a binary operation: a run, or one value for all elements.
template <int kStep>
struct Operand {
  __m256 biased_zero;
  __m256 constant;

  Operand(const act_t* x, int32_t zero)
      : biased_zero(biased(zero)),
        constant(_mm256_set1_ps(kStep == 0 ? static_cast<float>(x[0] - zero) : 0.0f)) {}

  void load32(const act_t* x, __m256 out[4]) const {
    if (kStep == 0) {
      for (int k = 0; k < 4; ++k) out[k] = constant;
    } else {
      widen(load(x), biased_zero, out);
    }
  }
};

// Calls body(a, b, y) for each 32 elements and for what remains, then with copies.
template <int kStepA, int kStepB, typename Body>
ZEROPOINT_INLINE void for_binary_blocks(const BinaryArgs& args, const Body& body) {
  int64_t i = 0;
  for (; i + kWidth <= args.n; i += kWidth) {
    body(args.a + i * kStepA, args.b + i * kStepB, args.y + i);
  }
  if (i < args.n) {
    const auto rest = static_cast<int>(args.n - i);
    act_t a[kWidth] = {}, b[kWidth] = {}, y[kWidth];
    if (kStepA == 1) avx2_copy_below_32(a, args.a + i, rest);
    if (kStepB == 1) avx2_copy_below_32(b, args.b + i, rest);
    body(a, b, y);
    avx2_copy_below_32(args.y + i, y, rest);
  }
}

template <int kStepA, int kStepB>
void add_steps(const BinaryArgs& args) {
  const Operand<kStepA> operand_a(args.a, args.zero_a);
  const Operand<kStepB> operand_b(args.b, args.zero_b);
  const __m256 ma = _mm256_set1_ps(args.multiplier_a);
  const __m256 mb = _mm256_set1_ps(args.multiplier_b);
  const bool may_be_nan = sum_may_be_nan(args.multiplier_a, args.multiplier_b);
  const Avx2Epilogue epilogue = avx2_epilogue(args.clamp);
  for_binary_blocks<kStepA, kStepB>(
      args, [&](const act_t* a, const act_t* b, act_t* y) ZEROPOINT_LAMBDA {
        __m256 u[4], v[4];
        operand_a.load32(a, u);
        operand_b.load32(b, v);
        for (int k = 0; k < 4; ++k) {
          u[k] = _mm256_add_ps(_mm256_mul_ps(u[k], ma), _mm256_mul_ps(v[k], mb));
        }
        if (may_be_nan) nan_to_zero(u);
        store(y, avx2_round_clamp(u[0], u[1], u[2], u[3], epilogue));
      });
}

template <int kStepA, int kStepB>
void mul_steps(const BinaryArgs& args) {
  const Operand<kStepA> operand_a(args.a, args.zero_a);
  const Operand<kStepB> operand_b(args.b, args.zero_b);
  const __m256 m = _mm256_set1_ps(args.multiplier_a);
  const Avx2Epilogue epilogue = avx2_epilogue(args.clamp);
  for_binary_blocks<kStepA, kStepB>(args,
                                    [&](const act_t* a, const act_t* b, act_t* y) ZEROPOINT_LAMBDA {
                                      __m256 u[4], v[4];
                                      operand_a.load32(a, u);
                                      operand_b.load32(b, v);
                                      // |difference| <= 255: the product of the two floats is the
                                      // exact integer.
                                      for (int k = 0; k < 4; ++k)
                                        u[k] = _mm256_mul_ps(_mm256_mul_ps(u[k], v[k]), m);
                                      store(y, avx2_round_clamp(u[0], u[1], u[2], u[3], epilogue));
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

// vpblendvb looks at bit 7 of each byte; shifting words moves the wanted bit there.
ZEROPOINT_INLINE __m256i lookup32(__m256i x, const act_t* table) {
  const __m256i low = _mm256_and_si256(x, _mm256_set1_epi8(0x0F));
  const __m256i bit4 = _mm256_slli_epi16(x, 3), bit5 = _mm256_slli_epi16(x, 2);
  const __m256i bit6 = _mm256_slli_epi16(x, 1), bit7 = x;
  const auto row = [&](int r) ZEROPOINT_LAMBDA {
    const auto* entries = reinterpret_cast<const __m128i*>(table + 16 * r);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(entries)), low);
  };
  const auto rows4 = [&](int r) ZEROPOINT_LAMBDA {
    return _mm256_blendv_epi8(_mm256_blendv_epi8(row(r), row(r + 1), bit4),
                              _mm256_blendv_epi8(row(r + 2), row(r + 3), bit4), bit5);
  };
  return _mm256_blendv_epi8(_mm256_blendv_epi8(rows4(0), rows4(4), bit6),
                            _mm256_blendv_epi8(rows4(8), rows4(12), bit6), bit7);
}

void lookup(const LookupArgs& args) {
  const act_t *x = args.x, *table = args.table;
  act_t* y = args.y;
  const int64_t n = args.n;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) store(y + i, lookup32(load(x + i), table));
  for (; i < n; ++i) y[i] = table[x[i]];
}

void quantize(const QuantizeArgs& args) {
  const __m256 scale = _mm256_set1_ps(args.scale);
  const Avx2Epilogue epilogue = avx2_epilogue(args.clamp);
  // Puts the dwords (four bytes each) that the packs interleaved back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto convert = [&](__m256 v[4]) ZEROPOINT_LAMBDA {
    for (int k = 0; k < 4; ++k) v[k] = _mm256_div_ps(v[k], scale);
    nan_to_zero(v);
    return _mm256_permutevar8x32_epi32(avx2_round_clamp(v[0], v[1], v[2], v[3], epilogue), order);
  };
  int64_t i = 0;
  for (; i + kWidth <= args.n; i += kWidth) {
    __m256 v[4];
    for (int k = 0; k < 4; ++k) v[k] = _mm256_loadu_ps(args.x + i + 8 * k);
    store(args.y + i, convert(v));
  }
  if (i < args.n) {
    const auto rest = static_cast<int>(args.n - i);
    __m256 v[4];
    for (int k = 0; k < 4; ++k) {
      const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
      const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest - 8 * k), lanes);
      v[k] = _mm256_maskload_ps(args.x + i + 8 * k, mask);
    }
    avx2_store_first(args.y + i, convert(v), rest);
  }
}

void dequantize(const DequantizeArgs& args) {
  const __m256i zero_point = _mm256_set1_epi32(args.params.zero_point);
  const __m256 scale = _mm256_set1_ps(args.params.scale);
  int64_t i = 0;
  for (; i + 8 <= args.n; i += 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(args.x + i));
    const __m256i q = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), zero_point);
    _mm256_storeu_ps(args.y + i, _mm256_mul_ps(_mm256_cvtepi32_ps(q), scale));
  }
  for (; i < args.n; ++i) {
    args.y[i] = static_cast<float>(static_cast<int32_t>(args.x[i]) - args.params.zero_point) *
                args.params.scale;
  }
}

constexpr Kernel kKernels[] = {
    {"elementwise_s8_32_avx2", Isa::avx2, add, mul, lookup, quantize, dequantize}};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::elementwise_s8
