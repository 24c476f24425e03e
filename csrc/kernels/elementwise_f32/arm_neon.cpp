// elementwise_f32: the shared loops.h compiled for NEON (4 lanes).
#include "kernels/elementwise_f32/elementwise_f32_kernels.h"
#include "kernels/elementwise_f32/loops.h"

namespace zeropoint::elementwise_f32 {

KernelSpan<Kernel> arm_neon_kernels() {
  static const Kernel table[] = {
      {"elementwise_f32_neon", Isa::neon, binary, unary, prelu, softmax, softmax_s8},
  };
  return {table, 1};
}

}  // namespace zeropoint::elementwise_f32
