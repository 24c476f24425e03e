// depthwise_f32: the shared body.h compiled for NEON (4 lanes).
#include "kernels/depthwise_f32/body.h"
#include "kernels/depthwise_f32/depthwise_f32_kernels.h"

namespace zeropoint::depthwise_f32 {

KernelSpan<Kernel> arm_neon_kernels() {
  static const Kernel table[] = {
      {"depthwise_f32_neon", Isa::neon, run},
  };
  return {table, 1};
}

}  // namespace zeropoint::depthwise_f32
