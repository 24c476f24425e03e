// What each file of the elementwise_s8 family hands to its registry.
#pragma once

#include "kernels/elementwise_s8/elementwise_s8.h"

namespace zeropoint::elementwise_s8 {

KernelSpan<Kernel> portable_kernels();
#if defined(__x86_64__)
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
#elif defined(__aarch64__)
KernelSpan<Kernel> arm_neon_kernels();
#endif

}  // namespace zeropoint::elementwise_s8
