// A register-only loop of 256-bit vpdpbusd, in the encoding that the including file is compiled
// for. Twelve chains cover a latency of 5 at two instructions a cycle.
#pragma once

#include "kernels/ceiling/ceiling_kernels.h"

namespace zeropoint::ceiling {
namespace {

constexpr int kChains = 12;
#if defined(__AVXVNNI__)
#define ZEROPOINT_ENCODING "%{vex%} "
#else
#define ZEROPOINT_ENCODING "%{evex%} "
#endif
#define ZEROPOINT_EACH_CHAIN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define ZEROPOINT_CLEAR(r) "vpxor %%ymm" #r ", %%ymm" #r ", %%ymm" #r "\n\t"
#define ZEROPOINT_VPDPBUSD(r) ZEROPOINT_ENCODING "vpdpbusd %%ymm14, %%ymm15, %%ymm" #r "\n\t"

int64_t vpdpbusd(int64_t iterations) {
  int64_t left = iterations;
  asm volatile(ZEROPOINT_EACH_CHAIN(ZEROPOINT_CLEAR) ZEROPOINT_CLEAR(14) ZEROPOINT_CLEAR(
                   15) "1:\n\t" ZEROPOINT_EACH_CHAIN(ZEROPOINT_VPDPBUSD) "decq %0\n\tjnz 1b\n\t"
                                                                          "vzeroupper\n\t"
               : "+r"(left)
               :
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                 "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");
  return iterations * kChains * 32;
}

constexpr Kernel make_kernel(const char* name) {
  return {name, "vpdpbusd ymm", Isa::avxvnni, true, vpdpbusd};
}

}  // namespace
}  // namespace zeropoint::ceiling
