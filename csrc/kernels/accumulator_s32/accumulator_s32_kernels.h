// The spans that registry.cpp joins: one an ISA file.
#pragma once

#include "kernels/accumulator_s32/accumulator_s32.h"

namespace zeropoint::accumulator_s32 {

KernelSpan<Kernel> portable_kernels();
#if defined(__x86_64__)
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
#elif defined(__aarch64__)
KernelSpan<Kernel> arm_neon_kernels();
#endif

}  // namespace zeropoint::accumulator_s32
