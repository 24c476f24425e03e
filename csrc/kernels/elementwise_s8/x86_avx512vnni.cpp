// elementwise_s8 with AVX-512: 64 elements at once, the last ones under a mask (nothing is read or
// written past the end).
//
// Bytes become floats by sitting in the mantissa of 2^23: the bits 0x4B000000 | q are 8388608 + q,
// from which 8388608 + zero_point is subtracted exactly. The unpack order is undone by the packs.
// Tables: 256 bytes are 128 words in four registers; vpermi2w fetches the word of an index's upper
// seven bits, from which the lowest bit selects a byte.
#include "kernels/elementwise_s8/elementwise_s8_kernels.h"
#include "kernels/epilogue_avx512.h"
#include "kernels/inlining.h"

namespace zeropoint::elementwise_s8 {
namespace {

constexpr int kWidth = 64;

ZEROPOINT_INLINE __mmask64 first_elements(int64_t count) {
  return count >= kWidth ? ~__mmask64{0} : ~__mmask64{0} >> (kWidth - count);
}

// Calls body(offset, mask) for each 64 elements and for what remains. The mask of a full block is
// a constant, so that it costs nothing.
template <typename Body>
ZEROPOINT_INLINE void for_blocks(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) body(i, ~__mmask64{0});
  if (i < n) body(i, first_elements(n - i));
}

// 64 bytes -> 4 x 16 floats q - zero, in unpack order; `biased_zero` is 8388608 + zero.
ZEROPOINT_INLINE void widen(__m512i q, __m512 biased_zero, __m512 out[4]) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i exponent = _mm512_set1_epi16(0x4B00);
  const __m512i lo = _mm512_unpacklo_epi8(q, zero);
  const __m512i hi = _mm512_unpackhi_epi8(q, zero);
  out[0] = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_unpacklo_epi16(lo, exponent)), biased_zero);
  out[1] = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_unpackhi_epi16(lo, exponent)), biased_zero);
  out[2] = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_unpacklo_epi16(hi, exponent)), biased_zero);
  out[3] = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_unpackhi_epi16(hi, exponent)), biased_zero);
}

ZEROPOINT_INLINE __m512 biased(int32_t zero) {
  return _mm512_set1_ps(8388608.0f + static_cast<float>(zero));
}

ZEROPOINT_INLINE void nan_to_zero(__m512 v[4]) {
  for (int k = 0; k < 4; ++k) {
    v[k] = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v[k], v[k], _CMP_ORD_Q), v[k]);
  }
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
  const act_t* data;
  __m512 biased_zero;
  __m512 constant;

  Operand(const act_t* x, int32_t zero)
      : data(x),
        biased_zero(biased(zero)),
        constant(_mm512_set1_ps(kStep == 0 ? static_cast<float>(x[0] - zero) : 0.0f)) {}

  void load(int64_t i, __mmask64 mask, __m512 out[4]) const {
    if (kStep == 0) {
      for (int k = 0; k < 4; ++k) out[k] = constant;
    } else {
      widen(_mm512_maskz_loadu_epi8(mask, data + i), biased_zero, out);
    }
  }
};

template <int kStepA, int kStepB>
void add_steps(const BinaryArgs& args) {
  const Operand<kStepA> a(args.a, args.zero_a);
  const Operand<kStepB> b(args.b, args.zero_b);
  const __m512 ma = _mm512_set1_ps(args.multiplier_a);
  const __m512 mb = _mm512_set1_ps(args.multiplier_b);
  const bool may_be_nan = sum_may_be_nan(args.multiplier_a, args.multiplier_b);
  const Avx512Epilogue epilogue = avx512_epilogue(args.clamp);
  for_blocks(args.n, [&](int64_t i, __mmask64 mask) ZEROPOINT_LAMBDA {
    __m512 u[4], v[4];
    a.load(i, mask, u);
    b.load(i, mask, v);
    for (int k = 0; k < 4; ++k) {
      u[k] = _mm512_add_ps(_mm512_mul_ps(u[k], ma), _mm512_mul_ps(v[k], mb));
    }
    if (may_be_nan) nan_to_zero(u);
    _mm512_mask_storeu_epi8(args.y + i, mask, avx512_round_clamp(u[0], u[1], u[2], u[3], epilogue));
  });
}

template <int kStepA, int kStepB>
void mul_steps(const BinaryArgs& args) {
  const Operand<kStepA> a(args.a, args.zero_a);
  const Operand<kStepB> b(args.b, args.zero_b);
  const __m512 m = _mm512_set1_ps(args.multiplier_a);
  const Avx512Epilogue epilogue = avx512_epilogue(args.clamp);
  for_blocks(args.n, [&](int64_t i, __mmask64 mask) ZEROPOINT_LAMBDA {
    __m512 u[4], v[4];
    a.load(i, mask, u);
    b.load(i, mask, v);
    // |difference| <= 255: the product of the two floats is the exact integer.
    for (int k = 0; k < 4; ++k) u[k] = _mm512_mul_ps(_mm512_mul_ps(u[k], v[k]), m);
    _mm512_mask_storeu_epi8(args.y + i, mask, avx512_round_clamp(u[0], u[1], u[2], u[3], epilogue));
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

// The table's word at index bits 1..7 for each lane, where `index` holds bits 1..6 in its low six
// bits and `upper` tells bit 7.
ZEROPOINT_INLINE __m512i table_word(const __m512i words[4], __m512i index, __mmask32 upper) {
  return _mm512_mask_blend_epi16(upper, _mm512_permutex2var_epi16(words[0], index, words[1]),
                                 _mm512_permutex2var_epi16(words[2], index, words[3]));
}

void lookup(const LookupArgs& args) {
  __m512i words[4];
  for (int k = 0; k < 4; ++k) words[k] = _mm512_loadu_si512(args.table + k * kWidth);
  const __m512i bit0_even = _mm512_set1_epi16(0x0001), bit7_even = _mm512_set1_epi16(0x0080);
  const __m512i bit0_odd = _mm512_set1_epi16(0x0100);
  const __mmask64 odd_bytes = 0xAAAAAAAAAAAAAAAA;
  for_blocks(args.n, [&](int64_t i, __mmask64 mask) ZEROPOINT_LAMBDA {
    const __m512i x = _mm512_maskz_loadu_epi8(mask, args.x + i);
    __m512i even = table_word(words, _mm512_srli_epi16(x, 1), _mm512_test_epi16_mask(x, bit7_even));
    __m512i odd = table_word(words, _mm512_srli_epi16(x, 9), _mm512_movepi16_mask(x));
    even = _mm512_mask_srli_epi16(even, _mm512_test_epi16_mask(x, bit0_even), even, 8);
    odd = _mm512_mask_slli_epi16(odd, _mm512_testn_epi16_mask(x, bit0_odd), odd, 8);
    _mm512_mask_storeu_epi8(args.y + i, mask, _mm512_mask_blend_epi8(odd_bytes, even, odd));
  });
}

void quantize(const QuantizeArgs& args) {
  const __m512 scale = _mm512_set1_ps(args.scale);
  const Avx512Epilogue epilogue = avx512_epilogue(args.clamp);
  // Puts the dwords (four bytes each) that the packs interleaved back in order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for_blocks(args.n, [&](int64_t i, __mmask64 mask) ZEROPOINT_LAMBDA {
    __m512 v[4];
    for (int k = 0; k < 4; ++k) {
      const __m512 x =
          _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> (16 * k)), args.x + i + 16 * k);
      v[k] = _mm512_div_ps(x, scale);
    }
    nan_to_zero(v);
    _mm512_mask_storeu_epi8(
        args.y + i, mask,
        _mm512_permutexvar_epi32(order, avx512_round_clamp(v[0], v[1], v[2], v[3], epilogue)));
  });
}

void dequantize(const DequantizeArgs& args) {
  const __m512i zero_point = _mm512_set1_epi32(args.params.zero_point);
  const __m512 scale = _mm512_set1_ps(args.params.scale);
  const auto convert = [&](int64_t i, __mmask16 mask) ZEROPOINT_LAMBDA {
    const __m512i q = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, args.x + i));
    _mm512_mask_storeu_ps(
        args.y + i, mask,
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(q, zero_point)), scale));
  };
  int64_t i = 0;
  for (; i + 16 <= args.n; i += 16) convert(i, 0xFFFF);
  if (i < args.n) convert(i, static_cast<__mmask16>(0xFFFF >> (16 - (args.n - i))));
}

constexpr Kernel kKernels[] = {
    {"elementwise_s8_64_avx512vnni", Isa::avx512vnni, add, mul, lookup, quantize, dequantize}};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::elementwise_s8
