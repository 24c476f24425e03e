// Any taps through an offset table, on Arm. For ISA files only.
//
// Tile: 16 channels of one or a few output pixels. A Step says how many taps it takes at once and
// how their products are summed:
//   kPixels           output pixels of a tile
//   kTaps, kWeights   taps, and vectors of 16 bytes that their weights for 16 channels fill
//   add(runs, weights, acc)  adds the taps whose runs start at runs[0..kTaps)
//   pack(weights, taps, c, out)  writes the weights of one channel, at most kTaps of them
//
// Packed, per block of 16 channels: [16] int32 bias, [16] float multiplier, then for each kTaps
// taps the Step's weights (zero for missing last taps).
// Accumulators: int32, exact under the bound that the caller has proved.
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8.h"
#include "kernels/epilogue_neon.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

constexpr int kTapsBlock = 16;       // channels
constexpr int kMaxTaps = 1024;       // more than this is left to the portable kernel
constexpr int kMaxGathered = 64;     // output pixels whose pointers are gathered at once
constexpr int kRuns = kMaxTaps + 3;  // pointers on the stack; a last step may be incomplete

bool taps_applies(const Problem& problem) { return problem.taps <= kMaxTaps; }

template <typename Step>
int steps_of(int taps) {
  return (taps + Step::kTaps - 1) / Step::kTaps;
}

template <typename Step>
size_t taps_block_bytes(int taps) {
  return 128 + 16 * static_cast<size_t>(Step::kWeights) * static_cast<size_t>(steps_of<Step>(taps));
}

template <typename Step>
size_t taps_packed_bytes(int taps, int channels) {
  return static_cast<size_t>((channels + kTapsBlock - 1) / kTapsBlock) *
         taps_block_bytes<Step>(taps);
}

template <typename Step>
void taps_pack(const PackArgs& args, void* packed) {
  auto* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, taps_packed_bytes<Step>(args.taps, args.channels));
  for (int c0 = 0; c0 < args.channels; c0 += kTapsBlock) {
    const int rest = args.channels - c0;
    const int count = rest < kTapsBlock ? rest : kTapsBlock;
    std::memcpy(out, args.bias + c0, static_cast<size_t>(count) * 4);
    std::memcpy(out + 64, args.multiplier + c0, static_cast<size_t>(count) * 4);
    for (int t = 0; t < args.taps; ++t) {
      for (int c = 0; c < count; ++c) {
        const int8_t weight = args.weights[static_cast<ptrdiff_t>(t) * args.channels + c0 + c];
        Step::pack(weight, t % Step::kTaps, c,
                   out + 128 + ptrdiff_t{16} * Step::kWeights * (t / Step::kTaps));
      }
    }
    out += taps_block_bytes<Step>(args.taps);
  }
}

// What a tile needs besides its accumulators.
struct Tile {
  const act_t* const* runs;  // [pixel][step * kTaps], at channel 0
  const uint8_t* block;      // packed, of these channels
  act_t* y;                  // first pixel, at these channels
  ptrdiff_t y_stride;
  int channel;  // first channel
  int count;    // channels to store
  int steps;
};

template <typename Step, int kPixels>
ZEROPOINT_INLINE void run_tile(const Tile& tile, const NeonEpilogue& epilogue) {
  int32x4_t acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    int32x4_t bias;
    std::memcpy(&bias, tile.block + 16 * v, 16);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = bias;
  }
  const uint8_t* weights = tile.block + 128;
  const act_t* const* runs = tile.runs;
  const ptrdiff_t pixel_runs = ptrdiff_t{tile.steps} * Step::kTaps;
  for (int step = 0; step < tile.steps; ++step) {
    typename Step::Weight w[Step::kWeights];
    for (int i = 0; i < Step::kWeights; ++i) std::memcpy(&w[i], weights + 16 * i, 16);
    for (int p = 0; p < kPixels; ++p) Step::add(runs + p * pixel_runs, tile.channel, w, acc[p]);
    weights += 16 * Step::kWeights;
    runs += Step::kTaps;
  }
  for (int p = 0; p < kPixels; ++p) {
    float32x4_t scaled[4];
    for (int v = 0; v < 4; ++v) {
      float32x4_t multiplier;
      std::memcpy(&multiplier, tile.block + 64 + 16 * v, 16);
      scaled[v] = neon_scale(acc[p][v], multiplier);
    }
    neon_store_first(tile.y + p * tile.y_stride,
                     neon_round_clamp(scaled[0], scaled[1], scaled[2], scaled[3], epilogue),
                     tile.count);
  }
}

template <typename Step>
void taps_run(const RunArgs& args) {
  const int taps = args.x.taps;
  const int steps = steps_of<Step>(taps);
  const int pixel_runs = steps * Step::kTaps;
  const NeonEpilogue epilogue = neon_epilogue(args.clamp);
  const act_t* runs[kRuns];
  int chunk = kRuns / pixel_runs;
  if (chunk > kMaxGathered) chunk = kMaxGathered;

  // Pixels in chunks, blocks of channels within: a block's weights stay in L1 for a whole chunk.
  for (int64_t p0 = args.pixel_begin; p0 < args.pixel_end; p0 += chunk) {
    const int pixels = static_cast<int>(args.pixel_end - p0 < chunk ? args.pixel_end - p0 : chunk);
    for (int p = 0; p < pixels; ++p) {
      const act_t** to = runs + p * pixel_runs;
      for (int t = 0; t < taps; ++t) to[t] = row_run(args.x, p0 + p, t);
      // What fills up the last step meets zero weights.
      for (int t = taps; t < pixel_runs; ++t) to[t] = to[taps - 1];
    }
    const auto* block = static_cast<const uint8_t*>(args.packed);
    for (int c0 = 0; c0 < args.x.depth; c0 += kTapsBlock, block += taps_block_bytes<Step>(taps)) {
      const int rest = args.x.depth - c0;
      Tile tile{runs,          block, args.y + p0 * args.y_stride + c0,
                args.y_stride, c0,    rest < kTapsBlock ? rest : kTapsBlock,
                steps};
      int left = pixels;
      for (; left >= Step::kPixels; left -= Step::kPixels) {
        run_tile<Step, Step::kPixels>(tile, epilogue);
        tile.runs += Step::kPixels * pixel_runs;
        tile.y += Step::kPixels * args.y_stride;
      }
      for (; left > 0; --left) {
        run_tile<Step, 1>(tile, epilogue);
        tile.runs += pixel_runs;
        tile.y += args.y_stride;
      }
    }
  }
}

template <typename Step>
constexpr Kernel taps_kernel(const char* name, Isa isa) {
  return {name, isa, taps_applies, taps_packed_bytes<Step>, taps_pack<Step>, taps_run<Step>};
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
