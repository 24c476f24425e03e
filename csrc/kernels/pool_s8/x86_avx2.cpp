// pool_s8 with AVX2: 32 channels at once, the last ones through a buffer on the stack.
//
// mean: words are summed as they are (S) and shifted right by 8 (O, the odd channels), modulo 2^16.
// Then the even channels' sum is S - 256 * O: three operations a tap for 32 channels, exact while
// 255 * taps < 2^16. More taps are taken in stretches of 256, whose sums are added in int32.
#include "kernels/epilogue_avx2.h"
#include "kernels/pool_s8/pool_s8_kernels.h"

namespace zeropoint::pool_s8 {
namespace {

constexpr int kWidth = 32;
constexpr int kStretch = 256;  // taps whose 16-bit sums cannot wrap: 255 * 256 < 2^16

__m256i load(const act_t* x) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)); }

void max(const RunArgs& args) {
  const __m256i qmin = _mm256_set1_epi8(static_cast<char>(args.clamp.qmin));
  const __m256i qmax = _mm256_set1_epi8(static_cast<char>(args.clamp.qmax));
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    for (int c = 0; c < args.x.depth; c += kWidth) {
      __m256i best = qmin;
      for (int t = 0; t < args.x.taps; ++t) {
        best = _mm256_max_epu8(best, load(row_run(args.x, p, t) + c));
      }
      avx2_store_first(y + c, _mm256_min_epu8(best, qmax), args.x.depth - c);
    }
  }
}

void mean(const RunArgs& args) {
  const Avx2Epilogue epilogue = avx2_epilogue(args.clamp);
  const __m256i zero = _mm256_setzero_si256();
  const __m256i start = _mm256_set1_epi32(-args.x.taps * args.zero_point);
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    const __m256 multiplier = _mm256_set1_ps(args.multiplier[p]);
    for (int c = 0; c < args.x.depth; c += kWidth) {
      __m256i sum[4] = {start, start, start, start};
      for (int t = 0; t < args.x.taps;) {
        const int end = args.x.taps - t < kStretch ? args.x.taps : t + kStretch;
        __m256i words = zero, odd = zero;
        for (; t < end; ++t) {
          const __m256i x = load(row_run(args.x, p, t) + c);
          words = _mm256_add_epi16(words, x);
          odd = _mm256_add_epi16(odd, _mm256_srli_epi16(x, 8));
        }
        const __m256i even = _mm256_sub_epi16(words, _mm256_slli_epi16(odd, 8));
        const __m256i lo = _mm256_unpacklo_epi16(even, odd);
        const __m256i hi = _mm256_unpackhi_epi16(even, odd);
        sum[0] = _mm256_add_epi32(sum[0], _mm256_unpacklo_epi16(lo, zero));
        sum[1] = _mm256_add_epi32(sum[1], _mm256_unpackhi_epi16(lo, zero));
        sum[2] = _mm256_add_epi32(sum[2], _mm256_unpacklo_epi16(hi, zero));
        sum[3] = _mm256_add_epi32(sum[3], _mm256_unpackhi_epi16(hi, zero));
      }
      __m256 scaled[4];
      for (int v = 0; v < 4; ++v) scaled[v] = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[v]), multiplier);
      avx2_store_first(y + c,
                       avx2_round_clamp(scaled[0], scaled[1], scaled[2], scaled[3], epilogue),
                       args.x.depth - c);
    }
  }
}

constexpr Kernel kKernels[] = {{"pool_s8_32_avx2", Isa::avx2, max, mean}};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::pool_s8
