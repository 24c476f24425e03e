// Size arithmetic that cannot wrap: sizes from files and shapes pass through here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"

namespace zeropoint {

// No tensor, arena or packed block may be larger than this; it keeps every later
// product of two sizes far away from overflow.
inline constexpr int64_t kMaxBytes = int64_t{1} << 40;

inline int64_t checked_mul(int64_t a, int64_t b, const char* what) {
  int64_t product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) || product > kMaxBytes) {
    throw Error(ErrorCode::invalid_model, std::string(what) + " is too large (" +
                                              std::to_string(a) + " x " + std::to_string(b) + ")");
  }
  return product;
}

inline int64_t checked_add(int64_t a, int64_t b, const char* what) {
  int64_t sum = 0;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum) || sum > kMaxBytes) {
    throw Error(ErrorCode::invalid_model, std::string(what) + " is too large");
  }
  return sum;
}

template <typename T>
constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}
template <typename T>
constexpr T round_up(T a, T multiple) {
  return ceil_div(a, multiple) * multiple;
}

}  // namespace zeropoint
