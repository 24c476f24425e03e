// accumulator_s32: the shared body.h compiled for AVX-512.
#include "kernels/accumulator_s32/accumulator_s32_kernels.h"
#include "kernels/accumulator_s32/body.h"

namespace zeropoint::accumulator_s32 {

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  static constexpr Kernel table[] = {make_kernel("accumulator_s32_avx512vnni", Isa::avx512vnni)};
  return {table, 1};
}

}  // namespace zeropoint::accumulator_s32
