#include "runtime/statistics.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace zeropoint {
namespace {

constexpr int kLanes = 16;  // independent lanes, so that the compiler can use vectors

float smaller(float a, float b) { return a < b ? a : b; }
float larger(float a, float b) { return a > b ? a : b; }

}  // namespace

bool min_max(const float* x, int64_t n, float* lo, float* hi) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  float low[kLanes], high[kLanes], wrong[kLanes];
  for (int j = 0; j < kLanes; ++j) {
    low[j] = kInf;
    high[j] = -kInf;
    wrong[j] = 0.0f;
  }
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const float v = x[i + j];
      low[j] = smaller(v, low[j]);
      high[j] = larger(v, high[j]);
      wrong[j] += v - v;  // 0 for finite values, NaN for all others
    }
  }
  for (; i < n; ++i) {
    low[0] = smaller(x[i], low[0]);
    high[0] = larger(x[i], high[0]);
    wrong[0] += x[i] - x[i];
  }
  for (int j = 1; j < kLanes; ++j) {
    low[0] = smaller(low[j], low[0]);
    high[0] = larger(high[j], high[0]);
    wrong[0] += wrong[j];
  }
  // Adding 0 turns -0 into 0: the answer does not depend on which zero came first.
  *lo = low[0] + 0.0f;
  *hi = high[0] + 0.0f;
  return wrong[0] == 0.0f && n >= 1;
}

void histogram(const float* x, int64_t n, float lo, float width, int64_t bins, int64_t* counts) {
  constexpr int kBlock = 1024;
  // Neighbouring values often share a bin; counting them in different tables lets the additions
  // overlap instead of waiting for each other's store.
  constexpr int kTables = 4;
  constexpr int64_t kFlush = int64_t{1} << 30;  // before a 32-bit count can wrap
  const auto last = static_cast<float>(bins - 1);
  const auto stride = static_cast<size_t>(bins);
  std::vector<uint32_t> tables(stride * kTables);
  int32_t index[kBlock];
  for (int64_t start = 0; start < n; start += kFlush) {
    const int64_t end = std::min(n, start + kFlush);
    for (int64_t i = start; i < end; i += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, end - i));
      for (int j = 0; j < count; ++j) {
        float bin = (x[i + j] - lo) / width;
        bin = larger(bin, 0.0f);  // also takes NaN to 0
        bin = smaller(bin, last);
        index[j] = static_cast<int32_t>(bin);
      }
      int j = 0;
      for (; j + kTables <= count; j += kTables) {
        for (int t = 0; t < kTables; ++t) {
          ++tables[static_cast<size_t>(t) * stride + static_cast<size_t>(index[j + t])];
        }
      }
      for (; j < count; ++j) ++tables[static_cast<size_t>(index[j])];
    }
    for (size_t b = 0; b < stride; ++b) {
      for (size_t t = 0; t < kTables; ++t) {
        counts[b] += tables[t * stride + b];
        tables[t * stride + b] = 0;
      }
    }
  }
}

}  // namespace zeropoint
