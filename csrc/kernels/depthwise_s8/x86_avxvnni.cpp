// depthwise_s8 for AVX-VNNI: avxvnni.h in the VEX encoding.
#include "kernels/depthwise_s8/avxvnni.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"

namespace zeropoint::depthwise_s8 {

KernelSpan<Kernel> x86_avxvnni_kernels() {
  static constexpr Kernel table[] = {ZEROPOINT_DEPTHWISE_KERNELS("avxvnni")};
  return {table, sizeof table / sizeof table[0]};
}

}  // namespace zeropoint::depthwise_s8
