// The loops of layer_norm_f32: included by each ISA file, which compiles them for its own vectors.
// The sums keep the 16 virtual lanes of quant/reduce_f32.h apart, so a compiler may use any width.
#pragma once

#include <cstdint>

#include "kernels/layer_norm_f32/layer_norm_f32.h"
#include "quant/reduce_f32.h"

namespace zeropoint::layer_norm_f32 {
namespace {

template <typename F>
inline float sum_of(const float* x, int64_t n, const F& f) {
  float lanes[kReduceLanes] = {};
  int64_t i = 0;
  for (; i + kReduceLanes <= n; i += kReduceLanes) {
    for (int j = 0; j < kReduceLanes; ++j) lanes[j] += f(x[i + j]);
  }
  for (int j = 0; i < n; ++i, ++j) lanes[j] += f(x[i]);
  return combine_lanes(lanes);
}

// y may be x: no iteration reads what another writes.
template <typename F>
inline void for_elements(const RunArgs& args, const F& f) {
  const float* x = args.x;
  float* y = args.y;
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#else
#pragma GCC ivdep
#endif
  for (int64_t i = 0; i < args.n; ++i) y[i] = f(x[i], i);
}

void run(const RunArgs& args) {
  const auto count = static_cast<float>(args.n);
  const float mean = sum_of(args.x, args.n, [](float x) { return x; }) / count;
  const float variance =
      sum_of(args.x, args.n, [mean](float x) { return (x - mean) * (x - mean); }) / count;
  const float factor = 1.0f / __builtin_sqrtf(variance + args.epsilon);
  const float* scale = args.scale;
  const float* bias = args.bias;
  if (bias == nullptr) {
    for_elements(args, [=](float x, int64_t i) { return ((x - mean) * factor) * scale[i]; });
  } else {
    for_elements(args,
                 [=](float x, int64_t i) { return ((x - mean) * factor) * scale[i] + bias[i]; });
  }
}

}  // namespace
}  // namespace zeropoint::layer_norm_f32
