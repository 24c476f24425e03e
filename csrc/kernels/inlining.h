// What must be inlined and unrolled lest vectors leave their registers, whatever the compiler would
// choose.
#pragma once

#if defined(__clang__)
#define ZEROPOINT_UNROLL _Pragma("unroll")
#define ZEROPOINT_UNROLL_4 _Pragma("unroll 4")
#else
#define ZEROPOINT_UNROLL _Pragma("GCC unroll 16")
#define ZEROPOINT_UNROLL_4 _Pragma("GCC unroll 4")
#endif
#define ZEROPOINT_LAMBDA __attribute__((always_inline))
#define ZEROPOINT_INLINE inline __attribute__((always_inline))
