// pool_f32: max and mean over the taps of each output pixel, channel by channel.
//
// max: padded taps read pad_row, which the caller fills with -inf; y starts at -inf and becomes
// `x > y ? x : y` in tap order, so NaNs are skipped.
// mean: the taps of a channel are summed in order from 0 (pad_row holds zeros), then multiplied by
// multiplier[p] (1 / count).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "kernels/registry.h"

namespace zeropoint::pool_f32 {

struct RunArgs {
  Rows<float> x;  // indirect; depth = channels
  float* y = nullptr;
  ptrdiff_t y_stride = 0;
  const float* multiplier = nullptr;  // [pixels]; mean only
  int64_t pixel_begin = 0, pixel_end = 0;
};

struct Kernel {
  const char* name;  // pool_f32_<isa>
  Isa isa;
  void (*max)(const RunArgs&);
  void (*mean)(const RunArgs&);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::pool_f32
