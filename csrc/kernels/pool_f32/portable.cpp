// pool_f32: the shared body.h compiled for the baseline of the architecture.
#include "kernels/pool_f32/body.h"
#include "kernels/pool_f32/pool_f32_kernels.h"

namespace zeropoint::pool_f32 {

KernelSpan<Kernel> portable_kernels() {
  static const Kernel table[] = {
      {"pool_f32_portable", Isa::portable, max, mean},
  };
  return {table, 1};
}

}  // namespace zeropoint::pool_f32
