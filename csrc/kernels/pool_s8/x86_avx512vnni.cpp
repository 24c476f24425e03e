// pool_s8 with AVX-512: 64 channels at once, the last ones under a mask.
//
// mean: words are summed as they are (S) and shifted right by 8 (O, the odd channels), modulo 2^16.
// Then the even channels' sum is S - 256 * O: three operations a tap for 64 channels, exact while
// 255 * taps < 2^16. More taps are taken in stretches of 256, whose sums are added in int32.
#include "kernels/epilogue_avx512.h"
#include "kernels/pool_s8/pool_s8_kernels.h"

namespace zeropoint::pool_s8 {
namespace {

constexpr int kWidth = 64;
constexpr int kStretch = 256;  // taps whose 16-bit sums cannot wrap: 255 * 256 < 2^16

__mmask64 channels_mask(int rest) {
  return rest >= kWidth ? ~__mmask64{0} : ~__mmask64{0} >> (kWidth - rest);
}

void max(const RunArgs& args) {
  const __m512i qmin = _mm512_set1_epi8(static_cast<char>(args.clamp.qmin));
  const __m512i qmax = _mm512_set1_epi8(static_cast<char>(args.clamp.qmax));
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    for (int c = 0; c < args.x.depth; c += kWidth) {
      __m512i best = qmin;
      for (int t = 0; t < args.x.taps; ++t) {
        best = _mm512_max_epu8(best, _mm512_loadu_si512(row_run(args.x, p, t) + c));
      }
      best = _mm512_min_epu8(best, qmax);
      _mm512_mask_storeu_epi8(y + c, channels_mask(args.x.depth - c), best);
    }
  }
}

void mean(const RunArgs& args) {
  const Avx512Epilogue epilogue = avx512_epilogue(args.clamp);
  const __m512i zero = _mm512_setzero_si512();
  const __m512i start = _mm512_set1_epi32(-args.x.taps * args.zero_point);
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    const __m512 multiplier = _mm512_set1_ps(args.multiplier[p]);
    for (int c = 0; c < args.x.depth; c += kWidth) {
      __m512i sum[4] = {start, start, start, start};
      for (int t = 0; t < args.x.taps;) {
        const int end = args.x.taps - t < kStretch ? args.x.taps : t + kStretch;
        __m512i words = zero, odd = zero;
        for (; t < end; ++t) {
          const __m512i x = _mm512_loadu_si512(row_run(args.x, p, t) + c);
          words = _mm512_add_epi16(words, x);
          odd = _mm512_add_epi16(odd, _mm512_srli_epi16(x, 8));
        }
        const __m512i even = _mm512_sub_epi16(words, _mm512_slli_epi16(odd, 8));
        const __m512i lo = _mm512_unpacklo_epi16(even, odd);
        const __m512i hi = _mm512_unpackhi_epi16(even, odd);
        sum[0] = _mm512_add_epi32(sum[0], _mm512_unpacklo_epi16(lo, zero));
        sum[1] = _mm512_add_epi32(sum[1], _mm512_unpackhi_epi16(lo, zero));
        sum[2] = _mm512_add_epi32(sum[2], _mm512_unpacklo_epi16(hi, zero));
        sum[3] = _mm512_add_epi32(sum[3], _mm512_unpackhi_epi16(hi, zero));
      }
      __m512 scaled[4];
      for (int v = 0; v < 4; ++v) scaled[v] = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[v]), multiplier);
      _mm512_mask_storeu_epi8(
          y + c, channels_mask(args.x.depth - c),
          avx512_round_clamp(scaled[0], scaled[1], scaled[2], scaled[3], epilogue));
    }
  }
}

constexpr Kernel kKernels[] = {{"pool_s8_64_avx512vnni", Isa::avx512vnni, max, mean}};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::pool_s8
