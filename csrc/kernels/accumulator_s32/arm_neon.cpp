// accumulator_s32: the shared body.h compiled for Armv8.0 NEON.
#include "kernels/accumulator_s32/accumulator_s32_kernels.h"
#include "kernels/accumulator_s32/body.h"

namespace zeropoint::accumulator_s32 {

KernelSpan<Kernel> arm_neon_kernels() {
  static constexpr Kernel table[] = {make_kernel("accumulator_s32_neon", Isa::neon)};
  return {table, 1};
}

}  // namespace zeropoint::accumulator_s32
