// winograd_s8 for AVX2: vpmaddwd on transforms of 16 bits. Tile: ymm.h. Packed layout and bound:
// tiles.h.
#include "kernels/winograd_s8/winograd_s8_kernels.h"
#include "kernels/winograd_s8/ymm.h"

namespace zeropoint::winograd_s8 {
namespace {

struct MultiplyAdd {
  static constexpr Isa kIsa = Isa::avx2;
  static ZEROPOINT_INLINE void add(__m256i& acc, __m256i x, __m256i w) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w));
  }
};

// Costs as measured.
constexpr Kernel kKernels[] = {
    Winograd<F2, Ymm<MultiplyAdd>>::kernel("winograd_s8_2x2_avx2", {2.5, 5}),
    Winograd<F4, Ymm<MultiplyAdd>>::kernel("winograd_s8_4x4_avx2", {6.6, 28}),
};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 2}; }

}  // namespace zeropoint::winograd_s8
