// Register-only multiply-accumulate loops for Armv8.0 NEON. Sixteen chains cover a latency of 4 at
// four instructions a cycle. Registers are cleared first: a denormal or NaN left there could slow
// the float loop on some CPUs.
#include "kernels/ceiling/arm_loop.h"

namespace zeropoint::ceiling {
namespace {

// The int8 step on operands as they are: sums of two 16-bit products (exact while no weight is
// -128), added in pairs into int32.
#define ZEROPOINT_SMULL(r)                                                         \
  "smull v30.8h, v28.8b, v29.8b\n\tsmlal2 v30.8h, v28.16b, v29.16b\n\tsadalp v" #r \
  ".4s, "                                                                          \
  "v30.8h\n\t"
ZEROPOINT_CEILING(smull, ZEROPOINT_SMULL, 16)

// On operands widened to 16 bits beforehand.
#define ZEROPOINT_SMLAL(r) "smlal v" #r ".4s, v28.4h, v29.4h\n\t"
ZEROPOINT_CEILING(smlal, ZEROPOINT_SMLAL, 4)

#define ZEROPOINT_FMLA(r) "fmla v" #r ".4s, v28.4s, v29.4s\n\t"
ZEROPOINT_CEILING(fmla, ZEROPOINT_FMLA, 4)

constexpr Kernel kKernels[] = {
    {"ceiling_smull_neon", "smull + smlal2 + sadalp", Isa::neon, true, smull},
    {"ceiling_smlal_neon", "smlal v.4s, v.4h, v.4h", Isa::neon, true, smlal},
    {"ceiling_fmla_neon", "fmla v.4s", Isa::neon, false, fmla},
};

}  // namespace

KernelSpan<Kernel> arm_neon_kernels() { return {kKernels, 3}; }

}  // namespace zeropoint::ceiling
