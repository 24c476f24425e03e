// depthwise_s8 with AVX2: vpmaddwd over two taps of one channel.
//
// Squares of 3x3 and 5x5 over an image's geometry have kernels of their own (avx2_columns.h); other
// taps go through an offset table: two input runs are interleaved by vpunpck(l|h)bw and widened to
// 16 bits by vpunpck(l|h)bw with zero, so that a dword holds one channel's two activations. Tile
// and packed layout: ymm_taps.h, with two int16 weights in a dword. Accumulators: int32, exact:
// |255 * 128 * 2| fits, and vpmaddwd cannot saturate on such operands.
#include "kernels/depthwise_s8/avx2_columns.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/depthwise_s8/ymm_taps.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

struct TwoTaps {
  static constexpr int kTaps = 2;
  using Weight = int16_t;

  template <int kPixels, typename LoadRun>
  static ZEROPOINT_INLINE void add(__m256i (&acc)[kPixels][4], const uint8_t* weights, int t,
                                   int taps, const LoadRun& load_run) {
    const __m256i zero = _mm256_setzero_si256();
    // A missing last tap has zero weights, so the one before it serves again.
    const int t1 = t + 1 < taps ? t + 1 : t;
    __m256i lo[kPixels], hi[kPixels];
    for (int p = 0; p < kPixels; ++p) {
      const __m256i x0 = load_run(p, t);
      const __m256i x1 = load_run(p, t1);
      lo[p] = _mm256_unpacklo_epi8(x0, x1);
      hi[p] = _mm256_unpackhi_epi8(x0, x1);
    }
    for (int v = 0; v < 4; ++v) {
      const __m256i w = load(weights + v * 32);
      for (int p = 0; p < kPixels; ++p) {
        const __m256i bytes = v < 2 ? lo[p] : hi[p];
        const __m256i x =
            v % 2 == 0 ? _mm256_unpacklo_epi8(bytes, zero) : _mm256_unpackhi_epi8(bytes, zero);
        acc[p][v] = _mm256_add_epi32(acc[p][v], _mm256_madd_epi16(x, w));
      }
    }
  }
};

// Best first: a kernel for a square comes before the one for any taps.
constexpr Kernel kKernels[] = {columns_kernel<Square<3, 1>>("depthwise_s8_3x3_avx2", Isa::avx2),
                               columns_kernel<Square<3, 2>>("depthwise_s8_3x3s2_avx2", Isa::avx2),
                               columns_kernel<Square<5, 1>>("depthwise_s8_5x5_avx2", Isa::avx2),
                               columns_kernel<Square<5, 2>>("depthwise_s8_5x5s2_avx2", Isa::avx2),
                               taps_kernel<TwoTaps>("depthwise_s8_32_avx2", Isa::avx2)};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, sizeof kKernels / sizeof kKernels[0]}; }

}  // namespace zeropoint::depthwise_s8
