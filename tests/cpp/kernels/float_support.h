// Float32 fills and bit-exact comparison for the tests of the float32 families.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "support.h"

namespace zeropoint::test {

inline bool cpu_has(Isa isa) {
  for (Isa level : detected_isa_levels()) {
    if (level == isa) return true;
  }
  return false;
}

inline float from_bits(uint32_t u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}

// Equal to the bit (-0 is not 0); any NaN equals any NaN.
inline bool same_bits(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// The index of the first difference, or -1.
template <typename A, typename B>
int64_t first_difference(const A& a, const B& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

// Uniform in [-scale, scale].
inline void fill_uniform(Buffer<float>& b, std::mt19937_64& g, float scale = 1.0f) {
  std::uniform_real_distribution<float> values(-scale, scale);
  for (size_t i = 0; i < b.size(); ++i) b[i] = values(g);
}

// Any float32 at all: NaNs, infinities, denormals and both zeros included.
inline void fill_any(Buffer<float>& b, std::mt19937_64& g) {
  const float inf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f,           -0.0f,           inf,     -inf,
                           std::nanf(""),  1e-45f,          -1e-45f, 1.17549435e-38f,
                           3.40282347e38f, -3.40282347e38f, 1.0f,    -1.0f};
  for (size_t i = 0; i < b.size(); ++i) {
    const uint64_t r = g();
    b[i] = r % 8 == 0 ? special[(r >> 8) % 12] : from_bits(static_cast<uint32_t>(r >> 32));
  }
}

}  // namespace zeropoint::test
