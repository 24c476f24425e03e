// The packed layout of gemm_f32, and the spans that registry.cpp joins: one an ISA file.
//
// Columns are cut into panels of W (16 or 64: the kernel's nr). Only the last panel is narrower:
// its width is what is left of n, rounded up to 16; the padded weights and biases are zero. A panel
// is its bias row followed by K = taps * depth rows of weights, all rows of the panel's width:
//
//   panel p:  [1 + K][width(p)] floats, at float p * W * (1 + K)
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_f32/gemm_f32.h"

namespace zeropoint::gemm_f32 {

inline constexpr int kPad = 16;  // columns are padded to a multiple of this

static inline int panel_width(int n, int panel_columns, int column) {
  const int left = (n - column + kPad - 1) / kPad * kPad;
  return left < panel_columns ? left : panel_columns;
}

// The panel that starts at `column`, a multiple of panel_columns: its bias row.
static inline const float* panel_at(const RunArgs& args, int column) {
  const ptrdiff_t k = static_cast<ptrdiff_t>(args.a.taps) * args.a.depth;
  return static_cast<const float*>(args.packed) + column * (1 + k);
}

size_t packed_bytes(int n, int taps, int depth);
void pack_16(const PackArgs& args, void* packed);
void pack_64(const PackArgs& args, void* packed);

KernelSpan<Kernel> portable_kernels();
#if defined(__x86_64__)
KernelSpan<Kernel> x86_avx2_kernels();
KernelSpan<Kernel> x86_avx512vnni_kernels();
#elif defined(__aarch64__)
KernelSpan<Kernel> arm_neon_kernels();
#endif

}  // namespace zeropoint::gemm_f32
