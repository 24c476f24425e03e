// winograd_s8: convolutions of 3x3 with stride 1, by Winograd's minimal filtering in integers:
// F(2x2, 3x3) and F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks" (2015), 16 and 36 products where the definition has 36 and 144.
//
//   s * y = A^T [(G g G^T) * (B^T d B)] A
//
//               2  0  0            1  0 -1  0           1  1  1  0
//   F(2x2): G = 1  1  1     B^T =  0  1  1  0    A^T =  0  1 -1 -1    s = 4
//               1 -1  1            0 -1  1  0
//               0  0  2            0  1  0 -1
//
//                6  0  0            4  0 -5  0  1  0           1  1  1  1  1  0
//               -4 -4 -4            0 -4 -4  1  1  0    A^T =  0  1 -1  2 -2  0
//   F(4x4): G = -4  4 -4     B^T =  0  4 -4 -1  1  0           0  1  1  4  4  0
//                1  2  4            0 -2 -1  2  1  0           0  1 -1  8 -8  3
//                1 -2  4            0  2 -1 -2  1  0
//                0  0  8            0  4  0 -5  0  1    s = 24 * 24
//
// Everything is an integer, and the sums are the convolution's times s, modulo 2^32: whatever they
// pass through on the way may wrap around. 4 * y has to fit int32. Of 576 * y = 9 * 64 * y, the
// factor 9 has an inverse modulo 2^32, which leaves 64 * y: all of y where it lies in an interval
// of less than 2^26, as wide as the sum of 255 * |w| is. So the same bytes come out as from
// gemm_s8.
//
// The products need 16 bits. Where the CPU multiplies bytes four at a time and adds them up in one
// instruction, and 16 bits two at a time, F(2x2) saves nothing: as many instructions as gemm_s8.
// F(4x4) takes half as many, and those of its transforms.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/registry.h"
#include "kernels/residual.h"
#include "quant/requantize.h"

namespace zeropoint::winograd_s8 {

// Of a column's |w|, the largest sums: 4 * 255 * sum < 2^31; and 255 * sum < 2^26 - 2, as the
// middle of the interval is rounded to an integer.
inline constexpr int64_t kMaxMagnitudeF2 = 2105376, kMaxMagnitudeF4 = 263172;

struct PackArgs {
  const int8_t* weights = nullptr;    // [n][3][3][depth], within the kernel's max_magnitude
  const int32_t* bias = nullptr;      // [n], input zero point folded in, as in gemm_s8
  const float* multiplier = nullptr;  // [n]
  int n = 0;
  int depth = 0;
};

// Tiles of output pixels are numbered row by row; those of the last row and column may reach over
// the edge.
struct Image {
  int height = 0, width = 0;  // of the input
  int out_height = 0, out_width = 0;
  int pad_top = 0, pad_left = 0;

  int64_t tiles(int tile) const {
    return int64_t{(out_height - 1) / tile + 1} * ((out_width - 1) / tile + 1);
  }
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
  // An element is read before it is stored by the same thread, so c may be the residual itself.
  Residual residual;
  int64_t tile_begin = 0, tile_end = 0;
  void* scratch = nullptr;  // scratch_bytes() of the kernel, 64-byte aligned, one per thread
};

// What a tile costs with so many channels, in pixels of a direct convolution: products grow with
// the channels as those do, transforms back do not.
struct TileCost {
  double products, transforms;

  double with(int depth) const { return products + transforms / depth; }
};

struct Kernel {
  const char* name;  // winograd_s8_<tile>x<tile>_<isa>
  Isa isa;
  int tile;               // output pixels, in each direction
  int64_t max_magnitude;  // the largest sum of a column's |w|
  TileCost cost;
  size_t (*packed_bytes)(int n, int depth);
  void (*pack)(const PackArgs&, void* packed);  // fills all packed_bytes()
  size_t (*scratch_bytes)(int depth);
  void (*run)(const RunArgs&);
};

KernelSpan<Kernel> kernels();

// The convolution that is asked about.
struct Problem {
  int n = 0;
  int depth = 0;
  int64_t out_height = 0, out_width = 0;  // 0 where they are not known
  int64_t magnitude = 0;                  // the largest sum of a column's |w|
};

// The fastest kernel of the level that gemm_s8 would use; nullptr where that is faster yet.
// A pure function of its arguments.
const Kernel* select(const Problem& problem, IsaMask mask);

}  // namespace zeropoint::winograd_s8
