// elementwise_f32: the shared loops.h compiled for AVX2 (8 lanes).
#include "kernels/elementwise_f32/elementwise_f32_kernels.h"
#include "kernels/elementwise_f32/loops.h"

namespace zeropoint::elementwise_f32 {

KernelSpan<Kernel> x86_avx2_kernels() {
  static const Kernel table[] = {
      {"elementwise_f32_avx2", Isa::avx2, binary, unary, prelu, softmax, softmax_s8},
  };
  return {table, 1};
}

}  // namespace zeropoint::elementwise_f32
