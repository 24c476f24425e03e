// The spans that registry.cpp joins: one an ISA file.
#pragma once

#include "kernels/pool_f32/pool_f32.h"

namespace zeropoint::pool_f32 {

KernelSpan<Kernel> portable_kernels();
#if defined(__x86_64__)
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
#elif defined(__aarch64__)
KernelSpan<Kernel> arm_neon_kernels();
#endif

}  // namespace zeropoint::pool_f32
