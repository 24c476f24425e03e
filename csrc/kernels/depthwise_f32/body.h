// depthwise_f32 for the vectors of the including file: channels in blocks, accumulators in
// registers, taps in order.
#pragma once

#include <cstdint>

#include "kernels/depthwise_f32/depthwise_f32.h"
#include "kernels/vector_f32.h"

namespace zeropoint::depthwise_f32 {
namespace {

struct Block {
  const RunArgs& args;
  int64_t pixel;

  template <int L, int NV>
  void run(int c) const {
    Vector<L> acc[NV];
    for (int v = 0; v < NV; ++v) acc[v] = load<L>(args.bias + c + v * L);
    const float* w = args.weights + c;
    for (int tap = 0; tap < args.x.taps; ++tap, w += args.x.depth) {
      const float* x = row_run(args.x, pixel, tap) + c;
      for (int v = 0; v < NV; ++v) acc[v] += load<L>(x + v * L) * load<L>(w + v * L);
    }
    float* y = args.y + pixel * args.y_stride + c;
    for (int v = 0; v < NV; ++v) store<L>(y + v * L, clamp<L>(acc[v], args.lo, args.hi));
  }
};

void run(const RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    for_channels(args.x.depth, Block{args, p});
  }
}

}  // namespace
}  // namespace zeropoint::depthwise_f32
