// The ceiling of 256-bit dot products, in the EVEX encoding (AVX-512 VL and VNNI).
#include "kernels/ceiling/avxvnni.h"

namespace zeropoint::ceiling {

KernelSpan<Kernel> x86_avxvnni_evex_kernels() {
  static constexpr Kernel table[] = {make_kernel("ceiling_vpdpbusd_avxvnni_evex")};
  return {table, 1};
}

}  // namespace zeropoint::ceiling
