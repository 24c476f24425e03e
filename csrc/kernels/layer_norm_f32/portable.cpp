// layer_norm_f32: the shared body.h compiled for the baseline of the architecture.
#include "kernels/layer_norm_f32/body.h"
#include "kernels/layer_norm_f32/layer_norm_f32_kernels.h"

namespace zeropoint::layer_norm_f32 {

KernelSpan<Kernel> portable_kernels() {
  static constexpr Kernel table[] = {{"layer_norm_f32_portable", Isa::portable, run}};
  return {table, 1};
}

}  // namespace zeropoint::layer_norm_f32
