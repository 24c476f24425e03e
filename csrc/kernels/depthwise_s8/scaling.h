// Which form of requantization a layer of the depthwise_s8 kernels that walk an image's columns
// needs, on x86. For ISA files alone.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8.h"

namespace zeropoint::depthwise_s8 {
namespace {

// Requantization from the accumulators on, in forms that do no more than a layer needs.
enum class Scaling {
  any,
  // All 256 values may come out, and no scaled accumulator is so large that vcvtps2dq would turn it
  // into INT_MIN: what saturates when it is narrowed is all there is to clamp.
  whole_range,
  // As well, and the zero point is 0, so that all negative results are 0. An accumulator a below
  // 2^23 added to the bit pattern of 2^23 is the float 2^23 + a for a >= 0, and 2^23 + a / 2 below:
  // one fused multiply-add with -2^23 * m makes of it a * m rounded once, or something negative.
  from_zero,
};
constexpr int32_t kTwo23Bits = 0x4B000000;

// What is proved about the weights when they are packed.
struct ScalingHeader {
  int32_t in_range;  // every scaled accumulator fits int32 once rounded
  int32_t small;     // and every accumulator is below 2^23, with an unremarkable multiplier
};
constexpr size_t kScalingHeaderBytes = 64;

inline ScalingHeader prove(const PackArgs& args) {
  ScalingHeader header{1, 1};
  for (int c = 0; c < args.channels; ++c) {
    int64_t highest = args.bias[c], lowest = args.bias[c];
    for (int t = 0; t < args.taps; ++t) {
      const int w = args.weights[static_cast<ptrdiff_t>(t) * args.channels + c];
      (w > 0 ? highest : lowest) += int64_t{w} * kActMax;
    }
    const int64_t bound = highest > -lowest ? highest : -lowest;
    const float m = args.multiplier[c];
    const float magnitude = m < 0.0f ? -m : m;
    if (!(static_cast<float>(bound) * magnitude < 1073741824.0f)) header = {0, 0};
    if (bound >= (1 << 23) || !(m > 1e-30f) || !(m < 1e30f)) header.small = 0;
  }
  return header;
}

inline Scaling scaling_for(const void* packed, const OutputClamp& clamp) {
  ScalingHeader header;
  std::memcpy(&header, packed, sizeof header);
  return !header.in_range || clamp.qmin != kActMin || clamp.qmax != kActMax ? Scaling::any
         : header.small && clamp.zero_point == 0                            ? Scaling::from_zero
                                                                            : Scaling::whole_range;
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
