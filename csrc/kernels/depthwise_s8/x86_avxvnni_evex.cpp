// depthwise_s8 for AVX-512 VL and VNNI at 256 bits: avxvnni.h in the EVEX encoding.
#include "kernels/depthwise_s8/avxvnni.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"

namespace zeropoint::depthwise_s8 {

KernelSpan<Kernel> x86_avxvnni_evex_kernels() {
  static constexpr Kernel table[] = {ZEROPOINT_DEPTHWISE_KERNELS("avxvnni_evex")};
  return {table, sizeof table / sizeof table[0]};
}

}  // namespace zeropoint::depthwise_s8
