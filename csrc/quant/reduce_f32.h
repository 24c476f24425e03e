// The one order in which float32 sums are taken, on every ISA: 16 virtual lanes, one fixed tree.
#pragma once

#include <cstdint>

namespace zeropoint {

inline constexpr int kReduceLanes = 16;

// Lane j holds the sum of elements j, j + 16, j + 32, ... taken in that order from 0; then
// lanes are added pairwise: j and j + 8, j and j + 4, j and j + 2, j and j + 1.
static inline float combine_lanes(float lanes[kReduceLanes]) {
  for (int width = kReduceLanes / 2; width >= 1; width /= 2) {
    for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

static inline float sum_f32(const float* x, int64_t n) {
  float lanes[kReduceLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i % kReduceLanes] += x[i];
  return combine_lanes(lanes);
}

}  // namespace zeropoint
