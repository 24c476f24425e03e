// depthwise_f32: the shared body.h compiled for AVX2 (8 lanes).
#include "kernels/depthwise_f32/body.h"
#include "kernels/depthwise_f32/depthwise_f32_kernels.h"

namespace zeropoint::depthwise_f32 {

KernelSpan<Kernel> x86_avx2_kernels() {
  static const Kernel table[] = {
      {"depthwise_f32_avx2", Isa::avx2, run},
  };
  return {table, 1};
}

}  // namespace zeropoint::depthwise_f32
