// elementwise_f32: the shared loops.h compiled for AVX-512 (16 lanes).
#include "kernels/elementwise_f32/elementwise_f32_kernels.h"
#include "kernels/elementwise_f32/loops.h"

namespace zeropoint::elementwise_f32 {

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  static const Kernel table[] = {
      {"elementwise_f32_avx512vnni", Isa::avx512vnni, binary, unary, prelu, softmax, softmax_s8},
  };
  return {table, 1};
}

}  // namespace zeropoint::elementwise_f32
