// gemm_s8 for AVX-VNNI: avxvnni.h in the VEX encoding.
#include "kernels/gemm_s8/avxvnni.h"
#include "kernels/gemm_s8/gemm_s8_kernels.h"

namespace zeropoint::gemm_s8 {

KernelSpan<Kernel> x86_avxvnni_kernels() {
  static constexpr Kernel table[] = {make_kernel("gemm_s8_6x16_avxvnni")};
  return {table, 1};
}

}  // namespace zeropoint::gemm_s8
