// Reductions over the middle of [outer, count, inner], run by pooling kernels: one output pixel
// with `count` taps for each outer index.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/pool_s8/pool_s8.h"
#include "ops/plan.h"
#include "ops/window.h"

namespace zeropoint {

class Reduction {
 public:
  Reduction(int64_t outer, int64_t count, int64_t inner)
      : outer_(outer), count_(count), inner_(inner) {
    check_offset_range(checked_mul(count, inner, "a reduction"));
    if (count > pool_s8::kMaxTaps) {
      throw Error(ErrorCode::unsupported,
                  "a reduction over " + std::to_string(count) + " elements is too large");
    }
    offsets_.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) offsets_.push_back(static_cast<int32_t>(i * inner));
  }

  // `Args` is the RunArgs of pool_s8 or pool_f32. Threads share the work by outer index and by
  // blocks of channels.
  template <typename T, typename Args>
  void run(void (*kernel)(const Args&), const Args& proto, const T* x, T* y, ThreadPool& pool,
           double nanoseconds_per_element) const {
    const int64_t blocks = ceil_div(inner_, kChannelBlock);
    const double cost = nanoseconds_per_element * static_cast<double>(count_) *
                        static_cast<double>(std::min(inner_, kChannelBlock));
    pool.parallel_for(outer_ * blocks, grain_for(cost + 1.0), [&](int64_t begin, int64_t end, int) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t outer = item / blocks;
        const int64_t first = item % blocks * kChannelBlock;
        Args args = proto;
        args.x.base = x + outer * count_ * inner_ + first;
        args.x.offsets = offsets_.data();
        args.x.taps = static_cast<int>(count_);
        args.x.depth = static_cast<int>(std::min(kChannelBlock, inner_ - first));
        args.y = y + outer * inner_ + first;
        args.y_stride = inner_;
        args.pixel_begin = 0;
        args.pixel_end = 1;
        kernel(args);
      }
    });
  }

 private:
  static constexpr int64_t kChannelBlock = 256;

  int64_t outer_, count_, inner_;
  std::vector<int32_t> offsets_;
};

}  // namespace zeropoint
