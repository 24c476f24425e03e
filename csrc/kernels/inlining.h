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

namespace zeropoint {
namespace {

template <int kValue>
struct Index {
  static constexpr int value = kValue;
  constexpr operator int() const { return kValue; }
};

// body(kBegin), body(kBegin + 1), ... body(kCount - 1) with constants for arguments. Loops over
// arrays of vectors are written so where compilers would not keep the array in registers: they do
// only if its indices are constants early enough.
template <int kCount, int kBegin = 0, typename Body>
ZEROPOINT_INLINE void unroll(const Body& body) {
  if constexpr (kBegin < kCount) {
    body(Index<kBegin>{});
    unroll<kCount, kBegin + 1>(body);
  }
}

}  // namespace
}  // namespace zeropoint
