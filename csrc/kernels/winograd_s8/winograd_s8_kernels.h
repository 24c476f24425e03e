// What each ISA file of winograd_s8 defines; registry.cpp joins them.
#pragma once

#include "kernels/winograd_s8/winograd_s8.h"

namespace zeropoint::winograd_s8 {

KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avxvnni_kernels();
KernelSpan<Kernel> x86_avxvnni_evex_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();

// The tile_cost of F(4x4) with vpdpwssd, on the side of caution, as it is estimated and not
// measured: llvm-mca 19 has 0.64 of a direct convolution's cycles for Zen 4 and 0.76 for Ice Lake
// with 64 channels and columns, less with more: a tile's 16 pixels as 10.2 and 12.2.
constexpr double kDotTileCost = 12.2;

}  // namespace zeropoint::winograd_s8
