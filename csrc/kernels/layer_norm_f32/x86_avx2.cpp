// layer_norm_f32: the shared body.h compiled for AVX2.
#include "kernels/layer_norm_f32/body.h"
#include "kernels/layer_norm_f32/layer_norm_f32_kernels.h"

namespace zeropoint::layer_norm_f32 {

KernelSpan<Kernel> x86_avx2_kernels() {
  static constexpr Kernel table[] = {{"layer_norm_f32_avx2", Isa::avx2, run}};
  return {table, 1};
}

}  // namespace zeropoint::layer_norm_f32
