// pool_f32: the shared body.h compiled for NEON (4 lanes).
#include "kernels/pool_f32/body.h"
#include "kernels/pool_f32/pool_f32_kernels.h"

namespace zeropoint::pool_f32 {

KernelSpan<Kernel> arm_neon_kernels() {
  static const Kernel table[] = {
      {"pool_f32_neon", Isa::neon, max, mean},
  };
  return {table, 1};
}

}  // namespace zeropoint::pool_f32
