#include "reference/depthwise.h"

#include <cstdint>
#include <limits>
#include <stdexcept>

namespace zeropoint::reference {

void depthwise(const depthwise_s8::PackArgs& layer, const depthwise_s8::RunArgs& run) {
  for (int64_t p = run.pixel_begin; p < run.pixel_end; ++p) {
    for (int c = 0; c < layer.channels; ++c) {
      int64_t acc = layer.bias[c];
      for (int t = 0; t < layer.taps; ++t) {
        const int32_t offset = run.x.offsets[p * layer.taps + t];
        const act_t* x = offset == Rows<act_t>::kPadding ? run.x.pad_row : run.x.base + offset;
        acc += int64_t{x[c]} * layer.weights[int64_t{t} * layer.channels + c];
      }
      if (acc < std::numeric_limits<int32_t>::min() || acc > std::numeric_limits<int32_t>::max()) {
        throw std::logic_error("the accumulator of a depthwise layer leaves int32");
      }
      run.y[p * run.y_stride + c] =
          requantize(static_cast<int32_t>(acc), layer.multiplier[c], run.clamp);
    }
  }
}

}  // namespace zeropoint::reference
