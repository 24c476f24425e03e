// pool_s8: max and mean over the taps of each output pixel, channel by channel.
//
// max:  y[p][c] = clamp(max_t x[row(p, t)][c]); padded taps read pad_row, which the caller fills
//       with kActMin. Input and output share scale and zero point.
// mean: y[p][c] = requantize(sum_t x[row(p, t)][c] - taps * zero_point, multiplier[p]); padded
//       taps read pad_row, filled with the zero point, so they add nothing, and multiplier[p]
//       carries the divisor (mean_multiplier). Global pooling is one pixel with H * W taps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::pool_s8 {

// At most this many taps a pixel: 255 * kMaxTaps stays below 2^31.
inline constexpr int kMaxTaps = 1 << 23;

struct RunArgs {
  Rows<act_t> x;  // indirect; depth = channels
  act_t* y = nullptr;
  ptrdiff_t y_stride = 0;
  OutputClamp clamp;
  int32_t zero_point = 0;             // of x; mean only
  const float* multiplier = nullptr;  // [pixels]; mean only
  int64_t pixel_begin = 0, pixel_end = 0;
};

struct Kernel {
  const char* name;  // pool_s8_<channels at once>_<isa>
  Isa isa;
  void (*max)(const RunArgs&);
  void (*mean)(const RunArgs&);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::pool_s8
