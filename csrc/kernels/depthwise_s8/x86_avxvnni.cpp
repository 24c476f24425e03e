// depthwise_s8 for AVX-VNNI: avxvnni.h in the VEX encoding.
#include "kernels/depthwise_s8/avxvnni.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"

namespace zeropoint::depthwise_s8 {

KernelSpan<Kernel> x86_avxvnni_kernels() {
  static constexpr Kernel table[] = {make_kernel("depthwise_s8_32_avxvnni")};
  return {table, 1};
}

}  // namespace zeropoint::depthwise_s8
