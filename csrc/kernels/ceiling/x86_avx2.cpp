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
  ZEROPOINT_CLEAR(14)                   \
  ZEROPOINT_CLEAR(15) "1:\n\t" ZEROPOINT_EACH_CHAIN(STEP) "decq %0\n\tjnz 1b\n\tvzeroupper\n\t"
#define ZEROPOINT_CLOBBERS                                                                       \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm11", \
      "xmm12", "xmm13", "xmm14", "xmm15"

// The fastest step that can be exact: sums of four products in s16, which weights must be known not
// to saturate; pairs of these in s32. (ymm15 stands for the ones of vpmaddwd.)
#define ZEROPOINT_VPMADDUBSW(r)              \
  "vpmaddubsw %%ymm13, %%ymm14, %%ymm11\n\t" \
  "vpmaddubsw %%ymm13, %%ymm14, %%ymm12\n\t" \
  "vpaddw %%ymm11, %%ymm12, %%ymm12\n\t"     \
  "vpmaddwd %%ymm12, %%ymm15, %%ymm12\n\t"   \
  "vpaddd %%ymm12, %%ymm" #r ", %%ymm" #r "\n\t"
int64_t vpmaddubsw(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_LOOP(ZEROPOINT_VPMADDUBSW) : "+r"(left) : : ZEROPOINT_CLOBBERS);
  return iterations * kChains * 64;
}

#define ZEROPOINT_VFMADD(r) "vfmadd231ps %%ymm13, %%ymm14, %%ymm" #r "\n\t"
int64_t vfmadd231ps(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_LOOP(ZEROPOINT_VFMADD) : "+r"(left) : : ZEROPOINT_CLOBBERS);
  return iterations * kChains * 8;
}

constexpr Kernel kKernels[] = {
    {"ceiling_vpmaddubsw_avx2", "2 vpmaddubsw + vpaddw + vpmaddwd + vpaddd ymm", Isa::avx2, true,
     vpmaddubsw},
    {"ceiling_vfmadd231ps_avx2", "vfmadd231ps ymm", Isa::avx2, false, vfmadd231ps},
};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 2}; }

}  // namespace zeropoint::ceiling
