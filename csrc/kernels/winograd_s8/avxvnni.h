// winograd_s8 with 256-bit vpdpwssd (two products of s16 added to s32, modulo 2^32). Tile: ymm.h.
// Packed layout and bound: tiles.h. For ISA files only.
//
// F(4x4) takes half the dot products of gemm_s8, whose vpdpbusd adds four, and transforms besides;
// F(2x2) would take as many.
#pragma once

#include "kernels/dot_avxvnni.h"
#include "kernels/winograd_s8/winograd_s8_kernels.h"
#include "kernels/winograd_s8/ymm.h"

namespace zeropoint::winograd_s8 {
namespace {

struct DotProduct {
  static constexpr Isa kIsa = Isa::avxvnni;
  static ZEROPOINT_INLINE void add(__m256i& acc, __m256i x, __m256i w) { dot2(acc, x, w); }
};

constexpr Kernel make_kernel(const char* name) {
  return Winograd<F4, Ymm<DotProduct>>::kernel(name, kDotCost);
}

}  // namespace
}  // namespace zeropoint::winograd_s8
