// The register-only multiply-accumulate loop of SDOT.
#include "kernels/ceiling/arm_loop.h"

namespace zeropoint::ceiling {
namespace {

#define ZEROPOINT_SDOT(r) "sdot v" #r ".4s, v28.16b, v29.16b\n\t"
ZEROPOINT_CEILING(sdot, ZEROPOINT_SDOT, 16)

constexpr Kernel kKernels[] = {
    {"ceiling_sdot_dotprod", "sdot v.4s, v.16b, v.16b", Isa::dotprod, true, sdot},
};

}  // namespace

KernelSpan<Kernel> arm_dotprod_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::ceiling
