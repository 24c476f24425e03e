// How a session holds 8-bit activations in memory on this architecture.
//
// A model file stores int8. x86 dot products want an unsigned first operand, so there a session
// holds q + 128 (and zero_point + 128) as uint8; on Arm it holds int8 as it is. That is a
// bijection: no result changes. Everything below the session speaks the stored domain only.
#pragma once

#include <cstdint>

namespace zeropoint {

#if defined(__x86_64__) || defined(__i386__)
using act_t = uint8_t;
inline constexpr int kActOffset = 128;  // stored = file value + kActOffset
#else
using act_t = int8_t;
inline constexpr int kActOffset = 0;
#endif

inline constexpr int kActMin = -128 + kActOffset;
inline constexpr int kActMax = 127 + kActOffset;

}  // namespace zeropoint
