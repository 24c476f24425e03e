// What each ISA file of ceiling defines; registry.cpp joins them.
#pragma once

#include "kernels/ceiling/ceiling.h"

namespace zeropoint::ceiling {

KernelSpan<Kernel> portable_kernels();
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avxvnni_kernels();
KernelSpan<Kernel> x86_avxvnni_evex_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
KernelSpan<Kernel> arm_neon_kernels();
KernelSpan<Kernel> arm_dotprod_kernels();
KernelSpan<Kernel> arm_i8mm_kernels();

}  // namespace zeropoint::ceiling
