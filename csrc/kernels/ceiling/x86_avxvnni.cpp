// The ceiling of 256-bit dot products, in the VEX encoding (AVX-VNNI).
#include "kernels/ceiling/avxvnni.h"

namespace zeropoint::ceiling {

KernelSpan<Kernel> x86_avxvnni_kernels() {
  static constexpr Kernel table[] = {make_kernel("ceiling_vpdpbusd_avxvnni")};
  return {table, 1};
}

}  // namespace zeropoint::ceiling
