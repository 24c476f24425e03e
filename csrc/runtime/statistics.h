// What calibration asks of activations: their range, and a histogram, at memory speed.
#pragma once

#include <cstdint>

namespace zeropoint {

// The smallest and largest of n >= 1 values; false when any is NaN or infinite.
bool min_max(const float* x, int64_t n, float* lo, float* hi);

// Adds to counts[i] the number of x in bin i: floor((x - lo) / width), in float32, clamped to
// [0, bins - 1]. NaN counts as bin 0. Needs width > 0 and 1 <= bins <= kMaxBins.
inline constexpr int64_t kMaxBins = 1 << 20;
void histogram(const float* x, int64_t n, float lo, float width, int64_t bins, int64_t* counts);

}  // namespace zeropoint
