// What the depthwise_s8 kernels of all x86 levels with vpdpbusd share: how blocks of channels are
// packed, and requantization over a register type. For ISA files only.
#pragma once

#include <cstdint>

#include "kernels/depthwise_s8/scaling.h"
#include "kernels/inlining.h"
#include "quant/requantize.h"

namespace zeropoint::depthwise_s8 {
namespace {

// No value may be a NaN.
template <typename V, Scaling kScaling>
struct Finish {
  using Int = typename V::Int;
  using Float = typename V::Float;
  Float highest;
  Int zero_point, qmin;

  explicit ZEROPOINT_INLINE Finish(const OutputClamp& clamp)
      : highest(V::set_f(static_cast<float>(clamp.qmax - clamp.zero_point))),
        zero_point(V::set_s16(clamp.zero_point)),
        qmin(V::set_u8(clamp.qmin)) {}

  // `offset` is -2^23 * m for Scaling::from_zero, else unused.
  ZEROPOINT_INLINE Int scale(Int acc, Float m, Float offset) const {
    if constexpr (kScaling == Scaling::from_zero) {
      return V::round(V::fma(V::as_float(acc), m, offset));
    } else if constexpr (kScaling == Scaling::whole_range) {
      return V::round(V::mul(V::to_float(acc), m));
    } else {
      return V::round(V::min_f(V::mul(V::to_float(acc), m), highest));
    }
  }
  ZEROPOINT_INLINE Int narrow(Int a, Int b) const {
    const Int words = V::narrow_s16(a, b);
    return kScaling == Scaling::from_zero ? words : V::add_s16(words, zero_point);
  }
  ZEROPOINT_INLINE Int to_bytes(Int a, Int b) const {
    const Int bytes = V::narrow_u8(a, b);
    return kScaling == Scaling::any ? V::max_u8(bytes, qmin) : bytes;
  }
};

// Channels that a block has room for.
ZEROPOINT_INLINE int packed_width(int width) { return width < 32 ? 32 : width; }

// The channel, within its block, that dword `slot` of a packed block's four registers belongs to:
// lo8/hi8 and then lo16/hi16 leave the bytes in this order, and the epilogue's packs undo it.
ZEROPOINT_INLINE int channel_of_slot(int slot, int width) {
  const int lanes = packed_width(width) / 4;
  return slot % lanes / 4 * 16 % width + slot / lanes * 4 + slot % 4;
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
