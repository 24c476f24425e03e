// Register-only multiply-accumulate loops for AVX2. Ten chains cover a latency of 5 at two
// instructions a cycle. Registers are cleared first: a denormal or NaN left there could slow the
// float loop on some CPUs.
#include "kernels/ceiling/ceiling_kernels.h"

namespace zeropoint::ceiling {
namespace {

constexpr int kChains = 10;
#define ZEROPOINT_EACH_CHAIN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
#define ZEROPOINT_CLEAR(r) "vpxor %%xmm" #r ", %%xmm" #r ", %%xmm" #r "\n\t"
#define ZEROPOINT_LOOP(STEP)            \
  ZEROPOINT_EACH_CHAIN(ZEROPOINT_CLEAR) \
  ZEROPOINT_CLEAR(13)                   \
  ZEROPOINT_CLEAR(14) "1:\n\t" ZEROPOINT_EACH_CHAIN(STEP) "decq %0\n\tjnz 1b\n\tvzeroupper\n\t"
#define ZEROPOINT_CLOBBERS                                                                       \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm12", \
      "xmm13", "xmm14"

// The exact int8 step: operands widened to s16, products summed in pairs into s32.
#define ZEROPOINT_VPMADDWD(r) \
  "vpmaddwd %%ymm13, %%ymm14, %%ymm12\n\tvpaddd %%ymm12, %%ymm" #r ", %%ymm" #r "\n\t"
int64_t vpmaddwd(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_LOOP(ZEROPOINT_VPMADDWD) : "+r"(left) : : ZEROPOINT_CLOBBERS);
  return iterations * kChains * 16;
}

#define ZEROPOINT_VFMADD(r) "vfmadd231ps %%ymm13, %%ymm14, %%ymm" #r "\n\t"
int64_t vfmadd231ps(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_LOOP(ZEROPOINT_VFMADD) : "+r"(left) : : ZEROPOINT_CLOBBERS);
  return iterations * kChains * 8;
}

constexpr Kernel kKernels[] = {
    {"ceiling_vpmaddwd_avx2", "vpmaddwd + vpaddd ymm", Isa::avx2, true, vpmaddwd},
    {"ceiling_vfmadd231ps_avx2", "vfmadd231ps ymm", Isa::avx2, false, vfmadd231ps},
};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 2}; }

}  // namespace zeropoint::ceiling
