// pool_f32: the shared body.h compiled for AVX2 (8 lanes).
#include "kernels/pool_f32/body.h"
#include "kernels/pool_f32/pool_f32_kernels.h"

namespace zeropoint::pool_f32 {

KernelSpan<Kernel> x86_avx2_kernels() {
  static const Kernel table[] = {
      {"pool_f32_avx2", Isa::avx2, max, mean},
  };
  return {table, 1};
}

}  // namespace zeropoint::pool_f32
