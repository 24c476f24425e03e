// winograd_s8 for AVX-512 VL and VNNI at 256 bits: avxvnni.h in the EVEX encoding.
#include "kernels/winograd_s8/avxvnni.h"

namespace zeropoint::winograd_s8 {

KernelSpan<Kernel> x86_avxvnni_evex_kernels() {
  static constexpr Kernel table[] = {make_kernel("winograd_s8_4x4_avxvnni_evex")};
  return {table, 1};
}

}  // namespace zeropoint::winograd_s8
