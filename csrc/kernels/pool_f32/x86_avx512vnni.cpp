// pool_f32: the shared body.h compiled for AVX-512 (16 lanes).
#include "kernels/pool_f32/body.h"
#include "kernels/pool_f32/pool_f32_kernels.h"

namespace zeropoint::pool_f32 {

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  static const Kernel table[] = {
      {"pool_f32_avx512vnni", Isa::avx512vnni, max, mean},
  };
  return {table, 1};
}

}  // namespace zeropoint::pool_f32
