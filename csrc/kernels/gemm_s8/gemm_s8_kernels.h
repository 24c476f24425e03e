// What each ISA file of gemm_s8 defines; registry.cpp joins them.
#pragma once

#include "kernels/gemm_s8/gemm_s8.h"

namespace zeropoint::gemm_s8 {

KernelSpan<Kernel> portable_kernels();
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avxvnni_kernels();
KernelSpan<Kernel> x86_avxvnni_evex_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
KernelSpan<Kernel> arm_neon_kernels();
KernelSpan<Kernel> arm_dotprod_kernels();
KernelSpan<Kernel> arm_i8mm_kernels();

}  // namespace zeropoint::gemm_s8
