// pool_f32 for the vectors of the including file: channels in blocks, taps in order.
#pragma once

#include <cstdint>

#include "kernels/pool_f32/pool_f32.h"
#include "kernels/vector_f32.h"

namespace zeropoint::pool_f32 {
namespace {

struct MaxBlock {
  const RunArgs& args;
  int64_t pixel;

  template <int L, int NV>
  void run(int c) const {
    Vector<L> acc[NV];
    for (int v = 0; v < NV; ++v) acc[v] = splat<L>(-__builtin_inff());
    for (int tap = 0; tap < args.x.taps; ++tap) {
      const float* run_of_tap = row_run(args.x, pixel, tap) + c;
      for (int v = 0; v < NV; ++v) {
        const Vector<L> x = load<L>(run_of_tap + v * L);
        acc[v] = x > acc[v] ? x : acc[v];
      }
    }
    float* y = args.y + pixel * args.y_stride + c;
    for (int v = 0; v < NV; ++v) store<L>(y + v * L, acc[v]);
  }
};

struct MeanBlock {
  const RunArgs& args;
  int64_t pixel;

  template <int L, int NV>
  void run(int c) const {
    Vector<L> acc[NV];
    for (int v = 0; v < NV; ++v) acc[v] = Vector<L>{};
    for (int tap = 0; tap < args.x.taps; ++tap) {
      const float* x = row_run(args.x, pixel, tap) + c;
      for (int v = 0; v < NV; ++v) acc[v] += load<L>(x + v * L);
    }
    const Vector<L> multiplier = splat<L>(args.multiplier[pixel]);
    float* y = args.y + pixel * args.y_stride + c;
    for (int v = 0; v < NV; ++v) store<L>(y + v * L, acc[v] * multiplier);
  }
};

void max(const RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    for_channels(args.x.depth, MaxBlock{args, p});
  }
}

void mean(const RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    for_channels(args.x.depth, MeanBlock{args, p});
  }
}

}  // namespace
}  // namespace zeropoint::pool_f32
