// depthwise_s8 with AVX-512 VNNI: vpdpbusd over four taps of one channel.
//
// Squares of 3x3 and 5x5 over an image's geometry have kernels of their own (columns.h);
// what follows takes any taps through an offset table.
// Tile: 64 channels (a tail takes 32 or 16, in narrower registers) of one or two output pixels; a
// tail of 16 takes twice as many, in the halves of wider registers. Four input runs are interleaved
// by vpunpck(l|h)bw and vpunpck(l|h)wd, so that a dword holds one channel's four activations; the
// packs of the epilogue undo the order this leaves.
//
// Packed, per block of W channels: [W] int32 bias, [W] float multiplier, then for each four taps
// [W][4] int8 weights, the last set filled up with zeros. Channels stand in interleaved order; a
// block of 16 is packed twice, side by side.
// Accumulators: int32, exact under the bound that the caller has proved.
#include <cstring>

#include "kernels/depthwise_s8/avx512_registers.h"
#include "kernels/depthwise_s8/columns.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

constexpr int kMaxTaps = 1024;    // more than this is left to the portable kernel
constexpr int kMaxGathered = 64;  // output pixels whose pointers are gathered at once

bool applies(const Problem& problem) { return problem.taps <= kMaxTaps; }

size_t block_bytes(int width, int taps) {
  return static_cast<size_t>(packed_width(width)) * 4 * static_cast<size_t>(2 + (taps + 3) / 4);
}

size_t packed_bytes(int taps, int channels) {
  size_t bytes = 0;
  for (int c0 = 0; c0 < channels;) {
    const int width = block_width(channels - c0);
    bytes += block_bytes(width, taps);
    c0 += width;
  }
  return bytes;
}

void pack(const PackArgs& args, void* packed) {
  auto* out = static_cast<uint8_t*>(packed);
  for (int c0 = 0; c0 < args.channels;) {
    const int width = block_width(args.channels - c0);
    const int slots = packed_width(width);
    std::memset(out, 0, block_bytes(width, args.taps));
    for (int slot = 0; slot < slots; ++slot) {
      const int c = c0 + channel_of_slot(slot, width);
      if (c >= args.channels) continue;
      std::memcpy(out + slot * 4, &args.bias[c], 4);
      std::memcpy(out + (slots + slot) * 4, &args.multiplier[c], 4);
      for (int t = 0; t < args.taps; ++t) {
        out[(static_cast<size_t>(2 + t / 4) * slots + slot) * 4 + t % 4] =
            static_cast<uint8_t>(args.weights[static_cast<ptrdiff_t>(t) * args.channels + c]);
      }
    }
    out += block_bytes(width, args.taps);
    c0 += width;
  }
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

template <typename V, int kPixels>
ZEROPOINT_INLINE void run_tile(const Tile& tile, const OutputClamp& clamp) {
  using Int = typename V::Int;
  constexpr int kBytes = V::kStride;
  Int acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    const Int bias = V::load(tile.block + v * kBytes);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = bias;
  }
  const uint8_t* weights = tile.block + 8 * kBytes;
  for (int t = 0; t < tile.taps; t += 4) {
    // Past the last tap the weights are zero, so its activations serve again.
    const int last = tile.taps - 1;
    const int taps[4] = {t, t + 1 < last ? t + 1 : last, t + 2 < last ? t + 2 : last,
                         t + 3 < last ? t + 3 : last};
    Int w[4];
    for (int v = 0; v < 4; ++v) w[v] = V::load(weights + v * kBytes);
    for (int p = 0; p < kPixels; ++p) {
      const act_t* const* runs = tile.runs + p * tile.taps;
      const act_t* const* second = runs + (V::kTiles - 1) * ptrdiff_t{kPixels} * tile.taps;
      Int x[4];
      for (int j = 0; j < 4; ++j) {
        x[j] = V::load_run(runs[taps[j]] + tile.channel, second[taps[j]] + tile.channel);
      }
      const Int lo01 = V::lo8(x[0], x[1]), hi01 = V::hi8(x[0], x[1]);
      const Int lo23 = V::lo8(x[2], x[3]), hi23 = V::hi8(x[2], x[3]);
      acc[p][0] = V::dot4(acc[p][0], V::lo16(lo01, lo23), w[0]);
      acc[p][1] = V::dot4(acc[p][1], V::hi16(lo01, lo23), w[1]);
      acc[p][2] = V::dot4(acc[p][2], V::lo16(hi01, hi23), w[2]);
      acc[p][3] = V::dot4(acc[p][3], V::hi16(hi01, hi23), w[3]);
    }
    weights += 4 * kBytes;
  }
  const Finish<V, Scaling::any> finish(clamp);
  for (int p = 0; p < kPixels; ++p) {
    Int rounded[4];
    for (int v = 0; v < 4; ++v) {
      rounded[v] =
          finish.scale(acc[p][v], V::load_f(tile.block + (4 + v) * kBytes), V::set_f(0.0f));
    }
    const Int first = finish.narrow(rounded[0], rounded[1]);
    act_t* y = tile.y + p * tile.y_stride;
    V::store_run(y, y + kPixels * tile.y_stride,
                 finish.to_bytes(first, finish.narrow(rounded[2], rounded[3])), tile.count);
  }
}

// `pixels` pixels of one block of channels.
template <typename V, typename Paired>
void run_block(Tile tile, int pixels, const OutputClamp& clamp) {
  while (pixels > 0) {
    int done = 1;
    if (Paired::kTiles == 2 && pixels >= 4) {
      run_tile<Paired, 2>(tile, clamp);
      done = 4;
    } else if (pixels >= 2) {
      run_tile<V, 2>(tile, clamp);
      done = 2;
    } else {
      run_tile<V, 1>(tile, clamp);
    }
    tile.runs += done * tile.taps;
    tile.y += done * tile.y_stride;
    pixels -= done;
  }
}

// The addresses of `count` runs, eight at a time (`runs` has room for a multiple of eight).
void gather_runs(const Rows<act_t>& x, const int32_t* offsets, int count, const act_t** runs) {
  const __m512i base = _mm512_set1_epi64(reinterpret_cast<intptr_t>(x.base));
  const __m512i pad_row = _mm512_set1_epi64(reinterpret_cast<intptr_t>(x.pad_row));
  const auto gather = [&](int i, __mmask8 mask) ZEROPOINT_LAMBDA {
    const __m256i offset = _mm256_maskz_loadu_epi32(mask, offsets + i);
    const __m512i address = _mm512_add_epi64(base, _mm512_cvtepi32_epi64(offset));
    // kPadding is the only negative offset, so the sign chooses.
    _mm512_storeu_si512(runs + i,
                        _mm512_mask_mov_epi64(address, _mm256_movepi32_mask(offset), pad_row));
  };
  int i = 0;
  for (; i + 8 <= count; i += 8) gather(i, 0xFF);
  if (i < count) gather(i, static_cast<__mmask8>(0xFF >> (8 - (count - i))));
}

void run(const RunArgs& args) {
  const int taps = args.x.taps;
  const int channels = args.x.depth;
  const act_t* runs[kMaxTaps];
  int chunk = kMaxTaps / taps;
  if (chunk > kMaxGathered) chunk = kMaxGathered;

  // Pixels in chunks, blocks of channels within: a block's weights stay in L1 for a whole chunk.
  for (int64_t p0 = args.pixel_begin; p0 < args.pixel_end; p0 += chunk) {
    const int pixels = static_cast<int>(args.pixel_end - p0 < chunk ? args.pixel_end - p0 : chunk);
    gather_runs(args.x, args.x.offsets + p0 * taps, pixels * taps, runs);
    const auto* block = static_cast<const uint8_t*>(args.packed);
    for (int c0 = 0; c0 < channels;) {
      const int rest = channels - c0;
      const int width = block_width(rest);
      const Tile tile = {runs,          block, args.y + p0 * args.y_stride + c0,
                         args.y_stride, c0,    rest < width ? rest : width,
                         taps};
      if (width == 64) {
        run_block<Zmm, Zmm>(tile, pixels, args.clamp);
      } else if (width == 32) {
        run_block<Ymm, Ymm>(tile, pixels, args.clamp);
      } else {
        run_block<Xmm, XmmPair>(tile, pixels, args.clamp);
      }
      block += block_bytes(width, taps);
      c0 += width;
    }
  }
}

// Best first: a kernel for a square comes before the one for any taps.
constexpr Kernel kKernels[] = {
    columns_kernel<Columns<3, 1, 2>>("depthwise_s8_3x3_avx512vnni", Isa::avx512vnni),
    columns_kernel<Columns<3, 2, 1>>("depthwise_s8_3x3s2_avx512vnni", Isa::avx512vnni),
    columns_kernel<Columns<5, 1, 1>>("depthwise_s8_5x5_avx512vnni", Isa::avx512vnni),
    columns_kernel<Columns<5, 2, 1>>("depthwise_s8_5x5s2_avx512vnni", Isa::avx512vnni),
    {"depthwise_s8_64_avx512vnni", Isa::avx512vnni, applies, packed_bytes, pack, run}};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  return {kKernels, sizeof kKernels / sizeof kKernels[0]};
}

}  // namespace zeropoint::depthwise_s8
