// depthwise_s8 in C++: blocks of channels with their accumulators on the stack.
//
// Packed: [channels] int32 bias, [channels] float multiplier, [taps][channels] int8 weights.
#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/epilogue_portable.h"

namespace zeropoint::depthwise_s8 {
namespace {

constexpr int kBlock = 64;

size_t packed_bytes(int taps, int channels) {
  return static_cast<size_t>(channels) * (static_cast<size_t>(taps) + 8);
}

void pack(const PackArgs& args, void* packed) {
  const size_t channels = static_cast<size_t>(args.channels);
  auto* out = static_cast<uint8_t*>(packed);
  std::memcpy(out, args.bias, channels * 4);
  std::memcpy(out + channels * 4, args.multiplier, channels * 4);
  std::memcpy(out + channels * 8, args.weights, channels * static_cast<size_t>(args.taps));
}

// One tap of a block. Not inlined: GCC would fuse the loops of two taps and then give up
// vectorizing them.
[[gnu::noinline]] void accumulate(int32_t* acc, const act_t* x, const int8_t* w, int count) {
  for (int c = 0; c < count; ++c) {
    // A product of two 8-bit numbers fits 16 bits; 16-bit lanes vectorize best.
    acc[c] += static_cast<int16_t>(static_cast<int16_t>(x[c]) * static_cast<int16_t>(w[c]));
  }
}

void run(const RunArgs& args) {
  const int channels = args.x.depth;
  const int taps = args.x.taps;
  const auto* bias = static_cast<const int32_t*>(args.packed);
  const auto* multiplier = reinterpret_cast<const float*>(bias + channels);
  const auto* weights = reinterpret_cast<const int8_t*>(multiplier + channels);
  const PortableEpilogue epilogue = portable_epilogue(args.clamp);

  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    act_t* y = args.y + p * args.y_stride;
    for (int c0 = 0; c0 < channels; c0 += kBlock) {
      const int count = channels - c0 < kBlock ? channels - c0 : kBlock;
      int32_t acc[kBlock];
      std::memcpy(acc, bias + c0, static_cast<size_t>(count) * sizeof(int32_t));
      for (int t = 0; t < taps; ++t) {
        accumulate(acc, row_run(args.x, p, t) + c0, weights + ptrdiff_t{t} * channels + c0, count);
      }
      for (int c = 0; c < count; ++c) {
        y[c0 + c] = portable_round_clamp(static_cast<float>(acc[c]) * multiplier[c0 + c], epilogue);
      }
    }
  }
}

constexpr Kernel kKernels[] = {
    {"depthwise_s8_64_portable", Isa::portable, nullptr, packed_bytes, pack, run}};

}  // namespace

KernelSpan<Kernel> portable_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::depthwise_s8
