// The frame of depthwise_s8 with 256-bit registers and any taps, through an offset table. For the
// ISA files alone: what is here is file-local.
//
// Tile: 32 channels of one or two output pixels. A dword of a register holds one channel's
// activations of the taps of one step; the packs of the epilogue undo the order in which unpacking
// bytes leaves the channels. A last block of at most 16 channels takes twice as many pixels, in the
// halves of the registers.
//
// Packed, per block of 32 channels: [32] int32 bias, [32] float multiplier, then for each step
// [32] dwords of weights (zero for taps that are missing in the last). Channels stand in
// interleaved order; a last block of at most 16 is packed into both halves.
//
// A Step says how many taps a dword holds, of what type its weights are, and how their products are
// added: add(acc, weights, t, taps, load_run) for the taps from t on, where load_run(p, t) gives
// the 32 activations of pixel p at tap t.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8.h"
#include "kernels/epilogue_avx2.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

constexpr int kWidth = 32;
constexpr int kMaxTaps = 1024;    // more than this is left to the portable kernel
constexpr int kMaxGathered = 64;  // output pixels whose pointers are gathered at once

bool applies(const Problem& problem) { return problem.taps <= kMaxTaps; }

template <typename Step>
size_t block_bytes(int taps) {
  return kWidth * 4 * static_cast<size_t>(2 + (taps + Step::kTaps - 1) / Step::kTaps);
}

template <typename Step>
size_t packed_bytes(int taps, int channels) {
  return static_cast<size_t>((channels + kWidth - 1) / kWidth) * block_bytes<Step>(taps);
}

template <typename Step>
void pack(const PackArgs& args, void* packed) {
  std::memset(packed, 0, packed_bytes<Step>(args.taps, args.channels));
  auto* out = static_cast<uint8_t*>(packed);
  for (int c0 = 0; c0 < args.channels; c0 += kWidth) {
    for (int slot = 0; slot < kWidth; ++slot) {
      // Dword `slot` of the four registers: register slot / 8, its half, dword in the half.
      const int half = args.channels - c0 > 16 ? slot / 4 % 2 : 0;
      const int c = c0 + half * 16 + slot / 8 * 4 + slot % 4;
      if (c >= args.channels) continue;
      std::memcpy(out + slot * 4, &args.bias[c], 4);
      std::memcpy(out + (kWidth + slot) * 4, &args.multiplier[c], 4);
      for (int t = 0; t < args.taps; ++t) {
        const typename Step::Weight w = args.weights[static_cast<ptrdiff_t>(t) * args.channels + c];
        uint8_t* dword = out + ((2 + t / Step::kTaps) * kWidth + slot) * 4;
        std::memcpy(dword + static_cast<size_t>(t % Step::kTaps) * sizeof w, &w, sizeof w);
      }
    }
    out += block_bytes<Step>(args.taps);
  }
}

ZEROPOINT_INLINE __m256i load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// What a tile needs besides its accumulators.
struct Tile {
  const act_t* const* runs;  // [pixel][tap], at channel 0
  const uint8_t* block;      // packed, of these channels
  act_t* y;                  // first pixel, at these channels
  ptrdiff_t y_stride;
  int channel;  // first channel
  int count;    // channels to store
  int taps;
};

// 32 channels of kPixels pixels; kPaired: 16 channels of pixel p and of pixel p + kPixels.
template <typename Step, int kPixels, bool kPaired>
ZEROPOINT_INLINE void run_tile(const Tile& tile, const Avx2Epilogue& epilogue) {
  const auto load_run = [&](int p, int t) ZEROPOINT_LAMBDA {
    const act_t* x = tile.runs[p * tile.taps + t] + tile.channel;
    if (!kPaired) return load(x);
    const act_t* second = tile.runs[(p + kPixels) * tile.taps + t] + tile.channel;
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(second)), 1);
  };
  __m256i acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    const __m256i bias = load(tile.block + v * 32);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = bias;
  }
  const uint8_t* weights = tile.block + 256;
  for (int t = 0; t < tile.taps; t += Step::kTaps, weights += 128) {
    Step::add(acc, weights, t, tile.taps, load_run);
  }
  for (int p = 0; p < kPixels; ++p) {
    __m256 scaled[4];
    for (int v = 0; v < 4; ++v) {
      const auto* multiplier = reinterpret_cast<const float*>(tile.block + 128 + v * 32);
      scaled[v] = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[p][v]), _mm256_loadu_ps(multiplier));
    }
    const __m256i q = avx2_round_clamp(scaled[0], scaled[1], scaled[2], scaled[3], epilogue);
    act_t* y = tile.y + p * tile.y_stride;
    avx2_store_first(y, q, tile.count);
    if (kPaired) {
      avx2_store_first(y + kPixels * tile.y_stride, _mm256_permute4x64_epi64(q, 0x0E), tile.count);
    }
  }
}

// `pixels` pixels of one block of channels.
template <typename Step>
void run_block(Tile tile, int pixels, const Avx2Epilogue& epilogue) {
  while (pixels > 0) {
    int done = 1;
    if (tile.count <= 16 && pixels >= 4) {
      run_tile<Step, 2, true>(tile, epilogue);
      done = 4;
    } else if (pixels >= 2) {
      run_tile<Step, 2, false>(tile, epilogue);
      done = 2;
    } else {
      run_tile<Step, 1, false>(tile, epilogue);
    }
    tile.runs += done * tile.taps;
    tile.y += done * tile.y_stride;
    pixels -= done;
  }
}

// The addresses of `count` runs.
void gather_runs(const Rows<act_t>& x, const int32_t* offsets, int count, const act_t** runs) {
  const __m256i base = _mm256_set1_epi64x(reinterpret_cast<intptr_t>(x.base));
  const __m256d pad_row =
      _mm256_castsi256_pd(_mm256_set1_epi64x(reinterpret_cast<intptr_t>(x.pad_row)));
  int i = 0;
  for (; i + 4 <= count; i += 4) {
    const __m256i offset =
        _mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(offsets + i)));
    const __m256d address = _mm256_castsi256_pd(_mm256_add_epi64(base, offset));
    // kPadding is the only negative offset, so the sign chooses.
    const __m256d run = _mm256_blendv_pd(address, pad_row, _mm256_castsi256_pd(offset));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(runs + i), _mm256_castpd_si256(run));
  }
  for (; i < count; ++i) runs[i] = offsets[i] < 0 ? x.pad_row : x.base + offsets[i];
}

template <typename Step>
void run(const RunArgs& args) {
  const int taps = args.x.taps;
  const int channels = args.x.depth;
  const Avx2Epilogue epilogue = avx2_epilogue(args.clamp);
  const act_t* runs[kMaxTaps];
  int chunk = kMaxTaps / taps;
  if (chunk > kMaxGathered) chunk = kMaxGathered;

  // Pixels in chunks, blocks of channels within: a block's weights stay in L1 for a whole chunk.
  for (int64_t p0 = args.pixel_begin; p0 < args.pixel_end; p0 += chunk) {
    const int pixels = static_cast<int>(args.pixel_end - p0 < chunk ? args.pixel_end - p0 : chunk);
    gather_runs(args.x, args.x.offsets + p0 * taps, pixels * taps, runs);
    const auto* block = static_cast<const uint8_t*>(args.packed);
    for (int c0 = 0; c0 < channels; c0 += kWidth, block += block_bytes<Step>(taps)) {
      const int count = channels - c0 < kWidth ? channels - c0 : kWidth;
      run_block<Step>(
          {runs, block, args.y + p0 * args.y_stride + c0, args.y_stride, c0, count, taps}, pixels,
          epilogue);
    }
  }
}

template <typename Step>
constexpr Kernel taps_kernel(const char* name, Isa isa) {
  return {name, isa, applies, packed_bytes<Step>, pack<Step>, run<Step>};
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
