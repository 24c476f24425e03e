// What each ISA file of winograd_s8 defines; registry.cpp joins them.
#pragma once

#include "kernels/winograd_s8/winograd_s8.h"

namespace zeropoint::winograd_s8 {

KernelSpan<Kernel> x86_avx2_kernels();

}  // namespace zeropoint::winograd_s8
