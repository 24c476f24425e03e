// layer_norm_f32: the shared body.h compiled for NEON.
#include "kernels/layer_norm_f32/body.h"
#include "kernels/layer_norm_f32/layer_norm_f32_kernels.h"

namespace zeropoint::layer_norm_f32 {

KernelSpan<Kernel> arm_neon_kernels() {
  static constexpr Kernel table[] = {{"layer_norm_f32_neon", Isa::neon, run}};
  return {table, 1};
}

}  // namespace zeropoint::layer_norm_f32
