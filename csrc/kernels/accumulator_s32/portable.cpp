// accumulator_s32: the shared body.h compiled for the baseline of the architecture.
#include "kernels/accumulator_s32/accumulator_s32_kernels.h"
#include "kernels/accumulator_s32/body.h"

namespace zeropoint::accumulator_s32 {

KernelSpan<Kernel> portable_kernels() {
  static constexpr Kernel table[] = {make_kernel("accumulator_s32_portable", Isa::portable)};
  return {table, 1};
}

}  // namespace zeropoint::accumulator_s32
