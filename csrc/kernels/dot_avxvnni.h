// 256-bit vpdpbusd and vpdpwssd in the encoding that the including file is compiled for: VEX
// (AVX-VNNI) or EVEX (AVX-512 VL and VNNI). For ISA files only.
#pragma once

#include <immintrin.h>

#include "kernels/inlining.h"

namespace zeropoint {
namespace {

#if defined(__AVXVNNI__)
#define ZEROPOINT_ENCODING "%{vex%} "
#else
#define ZEROPOINT_ENCODING "%{evex%} "
#endif
// Weights may stay in memory, except with clang, which would put there even what is in a register.
#if defined(__clang__)
#define ZEROPOINT_WEIGHTS "x"
#else
#define ZEROPOINT_WEIGHTS "xm"
#endif

// acc += the four products of each dword, u8 x s8, without saturation. GCC gives the intrinsics a
// fresh destination and copies accumulators back and forth; tied operands leave it no choice. Both
// encodings are given the 16 registers of VEX, so that what is tested of one holds for the other.
ZEROPOINT_INLINE void dot4(__m256i& acc, __m256i x, __m256i w) {
  __asm__(ZEROPOINT_ENCODING "vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), ZEROPOINT_WEIGHTS(w));
}

// acc += the two products of each dword, s16 x s16, modulo 2^32.
ZEROPOINT_INLINE void dot2(__m256i& acc, __m256i x, __m256i w) {
  __asm__(ZEROPOINT_ENCODING "vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(x), ZEROPOINT_WEIGHTS(w));
}

#undef ZEROPOINT_ENCODING
#undef ZEROPOINT_WEIGHTS

}  // namespace
}  // namespace zeropoint
