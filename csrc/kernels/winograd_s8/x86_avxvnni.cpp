// winograd_s8 for AVX-VNNI: avxvnni.h in the VEX encoding.
#include "kernels/winograd_s8/avxvnni.h"

namespace zeropoint::winograd_s8 {

KernelSpan<Kernel> x86_avxvnni_kernels() {
  static constexpr Kernel table[] = {make_kernel("winograd_s8_4x4_avxvnni")};
  return {table, 1};
}

}  // namespace zeropoint::winograd_s8
