// What each file of the depthwise_s8 family hands to its registry.
#pragma once

#include "kernels/depthwise_s8/depthwise_s8.h"

namespace zeropoint::depthwise_s8 {

KernelSpan<Kernel> portable_kernels();
#if defined(__x86_64__)
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avxvnni_kernels();
KernelSpan<Kernel> x86_avxvnni_evex_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
#elif defined(__aarch64__)
KernelSpan<Kernel> arm_neon_kernels();
KernelSpan<Kernel> arm_dotprod_kernels();
#endif

}  // namespace zeropoint::depthwise_s8
