// depthwise_s8 with 256-bit vpdpbusd over four taps of one channel: one source for both encodings,
// included by one file each.
//
// Squares of 3x3 and 5x5 over an image's geometry have kernels of their own (columns.h); what
// follows takes any taps through an offset table.
// Tile: 32 channels of one or two output pixels. Four input runs are interleaved by vpunpck(l|h)bw
// and vpunpck(l|h)wd, so that a dword holds one channel's four activations; the packs of the
// epilogue undo the order this leaves. A last block of at most 16 channels takes twice as many
// pixels, in the halves of the registers.
//
// Packed, per block of 32 channels: [32] int32 bias, [32] float multiplier, then for each four taps
// [32][4] int8 weights, the last set filled up with zeros. Channels stand in interleaved order; a
// last block of at most 16 is packed into both halves.
// Accumulators: int32, exact under the bound that the caller has proved.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/depthwise_s8/avxvnni_registers.h"
#include "kernels/depthwise_s8/columns.h"
#include "kernels/depthwise_s8/depthwise_s8.h"

namespace zeropoint::depthwise_s8 {
namespace {

constexpr int kWidth = 32;
constexpr int kVectorBytes = 32;
constexpr int kMaxTaps = 1024;    // more than this is left to the portable kernel
constexpr int kMaxGathered = 64;  // output pixels whose pointers are gathered at once

bool applies(const Problem& problem) { return problem.taps <= kMaxTaps; }

size_t block_bytes(int taps) { return kWidth * 4 * static_cast<size_t>(2 + (taps + 3) / 4); }

size_t packed_bytes(int taps, int channels) {
  return static_cast<size_t>((channels + kWidth - 1) / kWidth) * block_bytes(taps);
}

void pack(const PackArgs& args, void* packed) {
  std::memset(packed, 0, packed_bytes(args.taps, args.channels));
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
        out[((2 + t / 4) * kWidth + slot) * 4 + t % 4] =
            static_cast<uint8_t>(args.weights[static_cast<ptrdiff_t>(t) * args.channels + c]);
      }
    }
    out += block_bytes(args.taps);
  }
}

ZP_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

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
template <int kPixels, bool kPaired>
ZP_INLINE void run_tile(const Tile& tile, const Avx2Epilogue& epilogue) {
  const auto load_run = [&](int p, int t) __attribute__((always_inline)) {
    const act_t* x = tile.runs[p * tile.taps + t] + tile.channel;
    if (!kPaired) return load(x);
    const act_t* second = tile.runs[(p + kPixels) * tile.taps + t] + tile.channel;
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(second)), 1);
  };
  __m256i acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    const __m256i bias = load(tile.block + v * kVectorBytes);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = bias;
  }
  const uint8_t* weights = tile.block + 8 * kVectorBytes;
  const int last = tile.taps - 1;
  for (int t = 0; t < tile.taps; t += 4, weights += 4 * kVectorBytes) {
    // Past the last tap the weights are zero, so its activations serve again.
    const int t1 = t + 1 < last ? t + 1 : last;
    const int t2 = t + 2 < last ? t + 2 : last;
    const int t3 = t + 3 < last ? t + 3 : last;
    for (int p = 0; p < kPixels; ++p) {
      const __m256i x0 = load_run(p, t), x1 = load_run(p, t1);
      const __m256i lo01 = _mm256_unpacklo_epi8(x0, x1), hi01 = _mm256_unpackhi_epi8(x0, x1);
      const __m256i x2 = load_run(p, t2), x3 = load_run(p, t3);
      const __m256i lo23 = _mm256_unpacklo_epi8(x2, x3), hi23 = _mm256_unpackhi_epi8(x2, x3);
      dot4(acc[p][0], _mm256_unpacklo_epi16(lo01, lo23), load(weights));
      dot4(acc[p][1], _mm256_unpackhi_epi16(lo01, lo23), load(weights + kVectorBytes));
      dot4(acc[p][2], _mm256_unpacklo_epi16(hi01, hi23), load(weights + 2 * kVectorBytes));
      dot4(acc[p][3], _mm256_unpackhi_epi16(hi01, hi23), load(weights + 3 * kVectorBytes));
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    __m256 scaled[4];
    for (int v = 0; v < 4; ++v) {
      const auto* multiplier = reinterpret_cast<const float*>(tile.block + (4 + v) * kVectorBytes);
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
void run_block(Tile tile, int pixels, const Avx2Epilogue& epilogue) {
  while (pixels > 0) {
    int done = 1;
    if (tile.count <= 16 && pixels >= 4) {
      run_tile<2, true>(tile, epilogue);
      done = 4;
    } else if (pixels >= 2) {
      run_tile<2, false>(tile, epilogue);
      done = 2;
    } else {
      run_tile<1, false>(tile, epilogue);
    }
    tile.runs += done * tile.taps;
    tile.y += done * tile.y_stride;
    pixels -= done;
  }
}

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
    const act_t *base = args.x.base, *pad_row = args.x.pad_row;
    const int32_t* offsets = args.x.offsets + p0 * taps;
    for (int i = 0; i < pixels * taps; ++i) runs[i] = offsets[i] < 0 ? pad_row : base + offsets[i];
    const auto* block = static_cast<const uint8_t*>(args.packed);
    for (int c0 = 0; c0 < channels; c0 += kWidth, block += block_bytes(taps)) {
      const int count = channels - c0 < kWidth ? channels - c0 : kWidth;
      run_block({runs, block, args.y + p0 * args.y_stride + c0, args.y_stride, c0, count, taps},
                pixels, epilogue);
    }
  }
}

// Best first: a kernel for a square comes before the one for any taps.
#define ZEROPOINT_DEPTHWISE_KERNELS(suffix)                                           \
  columns_kernel<Columns<3, 1, 2>>("depthwise_s8_3x3_" suffix, Isa::avxvnni),         \
      columns_kernel<Columns<3, 2, 1>>("depthwise_s8_3x3s2_" suffix, Isa::avxvnni),   \
      columns_kernel<Columns<5, 1, 1>>("depthwise_s8_5x5_" suffix, Isa::avxvnni),     \
      columns_kernel<Columns<5, 2, 1>>("depthwise_s8_5x5s2_" suffix, Isa::avxvnni), { \
    "depthwise_s8_32_" suffix, Isa::avxvnni, applies, packed_bytes, pack, run         \
  }

}  // namespace
}  // namespace zeropoint::depthwise_s8
