// accumulator_s32: the shared body.h compiled for AVX2.
#include "kernels/accumulator_s32/accumulator_s32_kernels.h"
#include "kernels/accumulator_s32/body.h"

namespace zeropoint::accumulator_s32 {

KernelSpan<Kernel> x86_avx2_kernels() {
  static constexpr Kernel table[] = {make_kernel("accumulator_s32_avx2", Isa::avx2)};
  return {table, 1};
}

}  // namespace zeropoint::accumulator_s32
