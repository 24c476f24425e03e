// winograd_s8: convolutions of 3x3 with stride 1, by Winograd's minimal filtering in integers:
// F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), 16
// products where the definition has 36.
//
//   4 * y = A^T [(G g G^T) * (B^T d B)] A
//
//       2  0  0            1  0 -1  0           1  1  1  0
//   G = 1  1  1     B^T =  0  1  1  0    A^T =  0  1 -1 -1
//       1 -1  1            0 -1  1  0
//       0  0  2            0  1  0 -1
//
// With G twice the usual one everything is an integer, and the sums are the convolution's times
// four: exactly, so that the same bytes come out as from gemm_s8. A step of that sum may wrap
// around; what has to fit int32 is 4 * sum(x * w), which it does up to kMaxDepth channels.
// The products need 16 bits: where the CPU multiplies bytes four at a time, gemm_s8 is as fast.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::winograd_s8 {

// 4 * (9 * depth * 255 * 128) < 2^31
inline constexpr int kMaxDepth = 1827;

struct PackArgs {
  const int8_t* weights = nullptr;    // [n][3][3][depth]
  const int32_t* bias = nullptr;      // [n], input zero point folded in, as in gemm_s8
  const float* multiplier = nullptr;  // [n]
  int n = 0;
  int depth = 0;  // at most kMaxDepth
};

// Four output pixels are a tile, numbered row by row; those of the last row and column may reach
// over the edge.
struct Image {
  int height = 0, width = 0;  // of the input
  int out_height = 0, out_width = 0;
  int pad_top = 0, pad_left = 0;

  int tile_columns() const { return (out_width + 1) / 2; }
  int64_t tiles() const { return int64_t{(out_height + 1) / 2} * tile_columns(); }
};

struct RunArgs {
  const act_t* x = nullptr;    // [height][width][depth], readable 64 bytes past the end
  const act_t* pad = nullptr;  // a pixel of padding, as readable
  Image image;
  int depth = 0;
  const void* packed = nullptr;  // written by the same kernel's pack()
  int n = 0;
  act_t* c = nullptr;  // output pixel p at c + p * c_stride
  ptrdiff_t c_stride = 0;
  OutputClamp clamp;
  gemm_s8::Residual residual;  // as in gemm_s8; c may be the residual itself
  int64_t tile_begin = 0, tile_end = 0;
  void* scratch = nullptr;  // scratch_bytes() of the kernel, 64-byte aligned, one per thread
};

struct Kernel {
  const char* name;  // winograd_s8_<mr>x<nr>_<isa>
  Isa isa;
  size_t (*packed_bytes)(int n, int depth);
  void (*pack)(const PackArgs&, void* packed);  // fills all packed_bytes()
  size_t (*scratch_bytes)(int depth);
  void (*run)(const RunArgs&);
};

KernelSpan<Kernel> kernels();

// The convolution that is asked about; sizes of the output, 0 where they are not known.
struct Problem {
  int n = 0;
  int depth = 0;
  int64_t out_height = 0, out_width = 0;
};

// The kernel of the level that gemm_s8 would use, where it is the faster of the two; else nullptr.
// A pure function of its arguments.
const Kernel* select(const Problem& problem, IsaMask mask);

}  // namespace zeropoint::winograd_s8
