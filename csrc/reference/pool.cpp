#include "reference/pool.h"

#include <cstdint>

namespace zeropoint::reference {
namespace {

act_t element(const pool_s8::RunArgs& run, int64_t p, int t, int c) {
  const int32_t offset = run.x.offsets[p * run.x.taps + t];
  return offset == Rows<act_t>::kPadding ? run.x.pad_row[c] : run.x.base[offset + c];
}

}  // namespace

void max_pool(const pool_s8::RunArgs& run) {
  for (int64_t p = run.pixel_begin; p < run.pixel_end; ++p) {
    for (int c = 0; c < run.x.depth; ++c) {
      int best = element(run, p, 0, c);
      for (int t = 1; t < run.x.taps; ++t) {
        if (element(run, p, t, c) > best) best = element(run, p, t, c);
      }
      if (best < run.clamp.qmin) best = run.clamp.qmin;
      if (best > run.clamp.qmax) best = run.clamp.qmax;
      run.y[p * run.y_stride + c] = static_cast<act_t>(best);
    }
  }
}

void mean_pool(const pool_s8::RunArgs& run) {
  for (int64_t p = run.pixel_begin; p < run.pixel_end; ++p) {
    for (int c = 0; c < run.x.depth; ++c) {
      int64_t sum = 0;
      for (int t = 0; t < run.x.taps; ++t) sum += element(run, p, t, c) - run.zero_point;
      run.y[p * run.y_stride + c] =
          requantize(static_cast<int32_t>(sum), run.multiplier[p], run.clamp);
    }
  }
}

}  // namespace zeropoint::reference
