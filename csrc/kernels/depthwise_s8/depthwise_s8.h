// depthwise_s8: each channel convolved with its own taps, requantized per channel.
//
//   y[p][c] = requantize(bias[c] + sum_t x[row(p, t)][c] * w[t][c])
//
// Rows gives, for output pixel p and tap t, the start of the input pixel's channel run
// (depth = channels); kernels for the usual squares find it from the image's geometry instead. The
// bias has the input zero point folded in, as in gemm_s8; pad_row holds
// the zero point.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::depthwise_s8 {

struct Problem {
  int taps = 1;
  int channels = 0;
  // Of a square kernel without dilation, with the same stride both ways; 0: any other, which only
  // an offset table describes.
  int side = 0;
  int stride = 0;
};

// Where the windows of such a kernel lie in an image [height, width, channels].
struct Grid {
  int height = 0, width = 0;
  int out_width = 0;
  int pad_top = 0, pad_left = 0;
};

struct PackArgs {
  const int8_t* weights = nullptr;    // [taps][channels]
  const int32_t* bias = nullptr;      // [channels]
  const float* multiplier = nullptr;  // [channels]
  int taps = 1;
  int channels = 0;
};

struct RunArgs {
  // Indirect; or with a grid: base, depth and a pad_row of grid->width pixels alone.
  Rows<act_t> x;
  const Grid* grid = nullptr;  // where the kernel wants one
  const void* packed = nullptr;
  act_t* y = nullptr;  // pixel p at y + p * y_stride
  ptrdiff_t y_stride = 0;
  OutputClamp clamp;
  int64_t pixel_begin = 0, pixel_end = 0;  // with a grid: whole rows of output pixels
};

struct Kernel {
  const char* name;  // depthwise_s8_<channels at once>_<isa>
  Isa isa;
  bool (*applies)(const Problem&);
  size_t (*packed_bytes)(int taps, int channels);
  void (*pack)(const PackArgs&, void* packed);
  void (*run)(const RunArgs&);
  bool takes_grid = false;  // runs over RunArgs::grid, not over an offset table
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(const Problem& problem, IsaMask mask);

}  // namespace zeropoint::depthwise_s8
