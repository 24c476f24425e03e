// depthwise_f32: the shared body.h compiled for the baseline of the architecture.
#include "kernels/depthwise_f32/body.h"
#include "kernels/depthwise_f32/depthwise_f32_kernels.h"

namespace zeropoint::depthwise_f32 {

KernelSpan<Kernel> portable_kernels() {
  static const Kernel table[] = {
      {"depthwise_f32_portable", Isa::portable, run},
  };
  return {table, 1};
}

}  // namespace zeropoint::depthwise_f32
