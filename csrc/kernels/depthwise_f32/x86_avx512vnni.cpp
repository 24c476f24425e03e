// depthwise_f32: the shared body.h compiled for AVX-512 (16 lanes).
#include "kernels/depthwise_f32/body.h"
#include "kernels/depthwise_f32/depthwise_f32_kernels.h"

namespace zeropoint::depthwise_f32 {

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  static const Kernel table[] = {
      {"depthwise_f32_avx512vnni", Isa::avx512vnni, run},
  };
  return {table, 1};
}

}  // namespace zeropoint::depthwise_f32
