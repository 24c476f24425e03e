// Parameters of a float32 tensor from its own range, the threads sharing the search.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/accumulator_s32/accumulator_s32.h"
#include "ops/plan.h"
#include "quant/dynamic.h"

namespace zeropoint {

inline QuantParams find_params(const float* x, int64_t n, const accumulator_s32::Kernel& kernel,
                               ThreadPool& pool) {
  constexpr int64_t kMaxParts = 64;
  const int64_t parts =
      std::max<int64_t>(1, std::min({kMaxParts, int64_t{pool.size()}, n / grain_for(0.05)}));
  std::array<accumulator_s32::Range, kMaxParts> ranges{};
  pool.parallel_for(parts, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = n * p / parts, last = n * (p + 1) / parts;
      ranges[static_cast<size_t>(p)] = kernel.range(x + first, last - first);
    }
  });
  accumulator_s32::Range all{0.0f, 0.0f};
  for (const accumulator_s32::Range& range : ranges) {
    all.lo = std::min(all.lo, range.lo);
    all.hi = std::max(all.hi, range.hi);
  }
  return dynamic_params(all.lo, all.hi);
}

}  // namespace zeropoint
