// Register-only multiply-accumulate loops for AVX-512 VNNI. Twenty chains cover a latency of 5 at
// two instructions a cycle, twice over. Registers are cleared first: a denormal or NaN left there
// could slow the float loop on some CPUs.
#include "kernels/ceiling/ceiling_kernels.h"

namespace zeropoint::ceiling {
namespace {

constexpr int kChains = 20;
// clang-format off
#define ZEROPOINT_EACH_CHAIN(X)                                              \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)                          \
  X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)
// clang-format on
#define ZEROPOINT_CLEAR(r) "vpxord %%zmm" #r ", %%zmm" #r ", %%zmm" #r "\n\t"
#define ZEROPOINT_LOOP(STEP)            \
  ZEROPOINT_EACH_CHAIN(ZEROPOINT_CLEAR) \
  ZEROPOINT_CLEAR(30)                   \
  ZEROPOINT_CLEAR(31) "1:\n\t" ZEROPOINT_EACH_CHAIN(STEP) "decq %0\n\tjnz 1b\n\tvzeroupper\n\t"
#define ZEROPOINT_CLOBBERS                                                                       \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm30",  \
      "xmm31"

#define ZEROPOINT_VPDPBUSD(r) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #r "\n\t"
int64_t vpdpbusd(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_LOOP(ZEROPOINT_VPDPBUSD) : "+r"(left) : : ZEROPOINT_CLOBBERS);
  return iterations * kChains * 64;
}

#define ZEROPOINT_VFMADD(r) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #r "\n\t"
int64_t vfmadd231ps(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_LOOP(ZEROPOINT_VFMADD) : "+r"(left) : : ZEROPOINT_CLOBBERS);
  return iterations * kChains * 16;
}

constexpr Kernel kKernels[] = {
    {"ceiling_vpdpbusd_avx512vnni", "vpdpbusd zmm", Isa::avx512vnni, true, vpdpbusd},
    {"ceiling_vfmadd231ps_avx512vnni", "vfmadd231ps zmm", Isa::avx512vnni, false, vfmadd231ps},
};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() { return {kKernels, 2}; }

}  // namespace zeropoint::ceiling
