// elementwise_f32: the shared loops.h compiled for the baseline of the architecture.
#include "kernels/elementwise_f32/elementwise_f32_kernels.h"
#include "kernels/elementwise_f32/loops.h"

namespace zeropoint::elementwise_f32 {

KernelSpan<Kernel> portable_kernels() {
  static const Kernel table[] = {
      {"elementwise_f32_portable", Isa::portable, binary, unary, prelu, softmax, softmax_s8},
  };
  return {table, 1};
}

}  // namespace zeropoint::elementwise_f32
