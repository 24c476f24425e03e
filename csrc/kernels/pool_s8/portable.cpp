// pool_s8 in C++: blocks of channels with their accumulators on the stack.
#include "kernels/epilogue_portable.h"
#include "kernels/pool_s8/pool_s8_kernels.h"

namespace zeropoint::pool_s8 {
namespace {

constexpr int kBlock = 64;

int block_size(const RunArgs& args, int c0) {
  return args.x.depth - c0 < kBlock ? args.x.depth - c0 : kBlock;
}

// One tap of a block. Not inlined: GCC would fuse the loops of two taps and then give up
// vectorizing them.
[[gnu::noinline]] void take_max(act_t* best, const act_t* x, int count) {
  for (int c = 0; c < count; ++c) best[c] = best[c] < x[c] ? x[c] : best[c];
}
[[gnu::noinline]] void take_sum(int32_t* sum, const act_t* x, int count) {
  for (int c = 0; c < count; ++c) sum[c] += x[c];
}

void max(const RunArgs& args) {
  const auto qmin = static_cast<act_t>(args.clamp.qmin);
  const auto qmax = static_cast<act_t>(args.clamp.qmax);
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    for (int c0 = 0; c0 < args.x.depth; c0 += kBlock) {
      const int count = block_size(args, c0);
      act_t best[kBlock];
      for (int c = 0; c < count; ++c) best[c] = qmin;
      for (int t = 0; t < args.x.taps; ++t) {
        take_max(best, row_run(args.x, p, t) + c0, count);
      }
      for (int c = 0; c < count; ++c) y[c0 + c] = best[c] > qmax ? qmax : best[c];
    }
  }
}

void mean(const RunArgs& args) {
  const PortableEpilogue epilogue = portable_epilogue(args.clamp);
  const int32_t start = -args.x.taps * args.zero_point;
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    const float multiplier = args.multiplier[p];
    for (int c0 = 0; c0 < args.x.depth; c0 += kBlock) {
      const int count = block_size(args, c0);
      int32_t sum[kBlock];
      for (int c = 0; c < count; ++c) sum[c] = start;
      for (int t = 0; t < args.x.taps; ++t) {
        take_sum(sum, row_run(args.x, p, t) + c0, count);
      }
      for (int c = 0; c < count; ++c) {
        y[c0 + c] = portable_round_clamp(static_cast<float>(sum[c]) * multiplier, epilogue);
      }
    }
  }
}

constexpr Kernel kKernels[] = {{"pool_s8_64_portable", Isa::portable, max, mean}};

}  // namespace

KernelSpan<Kernel> portable_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::pool_s8
