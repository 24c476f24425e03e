// A register-only loop of one multiply-accumulate step on sixteen chains, v0 to v15. v28 and v29
// are its operands, v30 is free.
#pragma once

#include "kernels/ceiling/ceiling_kernels.h"

#define ZEROPOINT_EACH_CHAIN(X) \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define ZEROPOINT_CLEAR(r) "movi v" #r ".16b, #0\n\t"

// Defines a function `name` of Kernel::run; STEP(r) performs `macs` on the accumulators v<r>.
#define ZEROPOINT_CEILING(name, STEP, macs)                                                        \
  int64_t name(int64_t iterations) {                                                               \
    int64_t left = iterations;                                                                     \
    asm volatile(ZEROPOINT_EACH_CHAIN(ZEROPOINT_CLEAR) ZEROPOINT_CLEAR(28) ZEROPOINT_CLEAR(        \
                     29) "1:\n\t" ZEROPOINT_EACH_CHAIN(STEP) "subs %0, %0, #1\n\tb.ne 1b\n\t"      \
                 : "+r"(left)                                                                      \
                 :                                                                                 \
                 : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", \
                   "v12", "v13", "v14", "v15", "v28", "v29", "v30");                               \
    return iterations * 16 * (macs);                                                               \
  }
