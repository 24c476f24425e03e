// depthwise_s8 with 256-bit vpdpbusd over four taps of one channel: one source for both encodings,
// included by one file each.
//
// Squares of 3x3 and 5x5 over an image's geometry have kernels of their own (columns.h); other taps
// go through an offset table (ymm_taps.h, with four int8 weights in a dword): four input runs are
// interleaved by vpunpck(l|h)bw and vpunpck(l|h)wd.
// Accumulators: int32, exact under the bound that the caller has proved.
#pragma once

#include "kernels/depthwise_s8/avxvnni_registers.h"
#include "kernels/depthwise_s8/columns.h"
#include "kernels/depthwise_s8/ymm_taps.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

struct FourTaps {
  static constexpr int kTaps = 4;
  using Weight = int8_t;

  template <int kPixels, typename LoadRun>
  static ZEROPOINT_INLINE void add(__m256i (&acc)[kPixels][4], const uint8_t* weights, int t,
                                   int taps, const LoadRun& load_run) {
    const int last = taps - 1;
    // Past the last tap the weights are zero, so its activations serve again.
    const int t1 = t + 1 < last ? t + 1 : last;
    const int t2 = t + 2 < last ? t + 2 : last;
    const int t3 = t + 3 < last ? t + 3 : last;
    for (int p = 0; p < kPixels; ++p) {
      const __m256i x0 = load_run(p, t), x1 = load_run(p, t1);
      const __m256i lo01 = _mm256_unpacklo_epi8(x0, x1), hi01 = _mm256_unpackhi_epi8(x0, x1);
      const __m256i x2 = load_run(p, t2), x3 = load_run(p, t3);
      const __m256i lo23 = _mm256_unpacklo_epi8(x2, x3), hi23 = _mm256_unpackhi_epi8(x2, x3);
      dot4(acc[p][0], _mm256_unpacklo_epi16(lo01, lo23), load(weights));
      dot4(acc[p][1], _mm256_unpackhi_epi16(lo01, lo23), load(weights + 32));
      dot4(acc[p][2], _mm256_unpacklo_epi16(hi01, hi23), load(weights + 64));
      dot4(acc[p][3], _mm256_unpackhi_epi16(hi01, hi23), load(weights + 96));
    }
  }
};

// Best first: a kernel for a square comes before the one for any taps.
#define ZEROPOINT_DEPTHWISE_KERNELS(suffix)                                         \
  columns_kernel<Columns<3, 1, 2>>("depthwise_s8_3x3_" suffix, Isa::avxvnni),       \
      columns_kernel<Columns<3, 2, 1>>("depthwise_s8_3x3s2_" suffix, Isa::avxvnni), \
      columns_kernel<Columns<5, 1, 1>>("depthwise_s8_5x5_" suffix, Isa::avxvnni),   \
      columns_kernel<Columns<5, 2, 1>>("depthwise_s8_5x5s2_" suffix, Isa::avxvnni), \
      taps_kernel<FourTaps>("depthwise_s8_32_" suffix, Isa::avxvnni)

}  // namespace
}  // namespace zeropoint::depthwise_s8
