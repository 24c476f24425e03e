// pool_s8 with AVX2: 64 channels at once (a whole cache line of each run, fetched once), 32 where
// no more are left; the last ones are stored through a buffer on the stack.
//
// mean: words are summed as they are (S) and shifted right by 8 (O, the odd channels), modulo 2^16.
// Then the even channels' sum is S - 256 * O: three operations a tap for 32 channels, exact while
// 255 * taps < 2^16. More taps are taken in stretches of 256, whose sums are added in int32.
#include "kernels/epilogue_avx2.h"
#include "kernels/inlining.h"
#include "kernels/pool_s8/pool_s8_kernels.h"

namespace zeropoint::pool_s8 {
namespace {

constexpr int kWidth = 32;
constexpr int kStretch = 256;  // taps whose 16-bit sums cannot wrap: 255 * 256 < 2^16

__m256i load(const act_t* x) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)); }

// kRegisters x 32 channels of one pixel, of which `count` are stored.
template <int kRegisters>
ZEROPOINT_INLINE void max_block(const RunArgs& args, int64_t p, int c, int count) {
  const __m256i qmin = _mm256_set1_epi8(static_cast<char>(args.clamp.qmin));
  const __m256i qmax = _mm256_set1_epi8(static_cast<char>(args.clamp.qmax));
  __m256i best[kRegisters];
  for (int r = 0; r < kRegisters; ++r) best[r] = qmin;
  for (int t = 0; t < args.x.taps; ++t) {
    const act_t* x = row_run(args.x, p, t) + c;
    for (int r = 0; r < kRegisters; ++r) best[r] = _mm256_max_epu8(best[r], load(x + r * kWidth));
  }
  act_t* y = args.y + p * args.y_stride + c;
  for (int r = 0; r < kRegisters; ++r) {
    avx2_store_first(y + r * kWidth, _mm256_min_epu8(best[r], qmax), count - r * kWidth);
  }
}

template <int kRegisters>
ZEROPOINT_INLINE void mean_block(const RunArgs& args, const Avx2Epilogue& epilogue, int64_t p,
                                 int c, int count) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i start = _mm256_set1_epi32(-args.x.taps * args.zero_point);
  __m256i sum[kRegisters][4];
  for (int r = 0; r < kRegisters; ++r) {
    for (int v = 0; v < 4; ++v) sum[r][v] = start;
  }
  for (int t = 0; t < args.x.taps;) {
    const int end = args.x.taps - t < kStretch ? args.x.taps : t + kStretch;
    __m256i words[kRegisters], odd[kRegisters];
    for (int r = 0; r < kRegisters; ++r) words[r] = odd[r] = zero;
    for (; t < end; ++t) {
      const act_t* x = row_run(args.x, p, t) + c;
      for (int r = 0; r < kRegisters; ++r) {
        const __m256i q = load(x + r * kWidth);
        words[r] = _mm256_add_epi16(words[r], q);
        odd[r] = _mm256_add_epi16(odd[r], _mm256_srli_epi16(q, 8));
      }
    }
    for (int r = 0; r < kRegisters; ++r) {
      const __m256i even = _mm256_sub_epi16(words[r], _mm256_slli_epi16(odd[r], 8));
      const __m256i lo = _mm256_unpacklo_epi16(even, odd[r]);
      const __m256i hi = _mm256_unpackhi_epi16(even, odd[r]);
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_unpacklo_epi16(lo, zero));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_unpackhi_epi16(lo, zero));
      sum[r][2] = _mm256_add_epi32(sum[r][2], _mm256_unpacklo_epi16(hi, zero));
      sum[r][3] = _mm256_add_epi32(sum[r][3], _mm256_unpackhi_epi16(hi, zero));
    }
  }
  const __m256 multiplier = _mm256_set1_ps(args.multiplier[p]);
  act_t* y = args.y + p * args.y_stride + c;
  for (int r = 0; r < kRegisters; ++r) {
    __m256 v[4];
    for (int k = 0; k < 4; ++k) v[k] = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[r][k]), multiplier);
    avx2_store_first(y + r * kWidth, avx2_round_clamp(v[0], v[1], v[2], v[3], epilogue),
                     count - r * kWidth);
  }
}

void max(const RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    int c = 0;
    for (; c + kWidth < args.x.depth; c += 2 * kWidth) max_block<2>(args, p, c, args.x.depth - c);
    if (c < args.x.depth) max_block<1>(args, p, c, args.x.depth - c);
  }
}

void mean(const RunArgs& args) {
  const Avx2Epilogue epilogue = avx2_epilogue(args.clamp);
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    int c = 0;
    for (; c + kWidth < args.x.depth; c += 2 * kWidth)
      mean_block<2>(args, epilogue, p, c, args.x.depth - c);
    if (c < args.x.depth) mean_block<1>(args, epilogue, p, c, args.x.depth - c);
  }
}

constexpr Kernel kKernels[] = {{"pool_s8_64_avx2", Isa::avx2, max, mean}};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::pool_s8
