// What each ISA file of winograd_s8 defines; registry.cpp joins them.
#pragma once

#include "kernels/winograd_s8/winograd_s8.h"

namespace zeropoint::winograd_s8 {

KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avxvnni_kernels();
KernelSpan<Kernel> x86_avxvnni_evex_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();

// F(4x4) with vpdpwssd, on the side of caution, as this is estimated and not measured: from
// llvm-mca 19's cycles of the parts, about 8 + 160 / depth for Zen 4 and 8.7 + 220 / depth for Ice
// Lake, if there are as many columns as channels; a tile has 16 pixels.
constexpr TileCost kDotCost = {9, 224};

}  // namespace zeropoint::winograd_s8
