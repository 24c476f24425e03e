// layer_norm_f32: the shared body.h compiled for AVX-512.
#include "kernels/layer_norm_f32/body.h"
#include "kernels/layer_norm_f32/layer_norm_f32_kernels.h"

namespace zeropoint::layer_norm_f32 {

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  static constexpr Kernel table[] = {{"layer_norm_f32_avx512vnni", Isa::avx512vnni, run}};
  return {table, 1};
}

}  // namespace zeropoint::layer_norm_f32
