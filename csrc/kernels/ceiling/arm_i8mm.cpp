// The register-only multiply-accumulate loop of SMMLA.
#include "kernels/ceiling/arm_loop.h"

namespace zeropoint::ceiling {
namespace {

#define ZEROPOINT_SMMLA(r) "smmla v" #r ".4s, v28.16b, v29.16b\n\t"
ZEROPOINT_CEILING(smmla, ZEROPOINT_SMMLA, 32)

constexpr Kernel kKernels[] = {
    {"ceiling_smmla_i8mm", "smmla v.4s, v.16b, v.16b", Isa::i8mm, true, smmla},
};

}  // namespace

KernelSpan<Kernel> arm_i8mm_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::ceiling
