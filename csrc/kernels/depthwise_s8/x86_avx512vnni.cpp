// depthwise_s8 with AVX-512 VNNI: vpdpbusd over four taps of one channel.
//
// Tile: 64 channels (a tail takes 32 or 16, in narrower registers) of up to four output pixels.
// Four input runs are interleaved by vpunpck(l|h)bw and vpunpck(l|h)wd, so that a dword holds one
// channel's four activations; the packs of the epilogue undo the order this leaves.
// 3x3 and 5x5 have a form of their own: a dword holds four neighbouring columns, which serve two
// output pixels, the second one with weights shifted by a column. Neighbours (one or two columns
// apart) are recognized by their offsets alone, so any stride, dilation, padding and row end is
// handled by falling back to fewer pixels.
//
// Packed, per block of W channels: [W] int32 bias, [W] float multiplier, then sets of [W][4] int8
// weights. For each kernel row of 3x3 the sets (w0, w1, w2, 0) and (0, w0, w1, w2); of 5x5
// (w0, w1, w2, w3), (0, w0, w1, w2) for the first four columns and (0, 0, w4, 0), (0, 0, w3, w4)
// for those from the third on; else one set for each four taps, the last filled up with zeros.
// Channels stand in interleaved order.
// Accumulators: int32, exact under the bound that the caller has proved.
#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/epilogue_avx512.h"

namespace zeropoint::depthwise_s8 {
namespace {

#define ZP_INLINE static inline __attribute__((always_inline))

// One register width each: the same operations on 64, 32 and 16 channels. kStride is the distance
// of registers in a packed block. load_run reads the run of a tile; `second` leads from there to
// the same run, or output pixel, of the tile that follows (for XmmPair alone).
struct Zmm {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kChannels = 64;
  static constexpr int kStride = 64;
  ZP_INLINE Int load(const void* p) { return _mm512_loadu_si512(p); }
  ZP_INLINE Int load_run(const act_t* const* run, ptrdiff_t, int channel) {
    return load(*run + channel);
  }
  ZP_INLINE Float load_f(const void* p) { return _mm512_loadu_ps(p); }
  ZP_INLINE Int lo8(Int a, Int b) { return _mm512_unpacklo_epi8(a, b); }
  ZP_INLINE Int hi8(Int a, Int b) { return _mm512_unpackhi_epi8(a, b); }
  ZP_INLINE Int lo16(Int a, Int b) { return _mm512_unpacklo_epi16(a, b); }
  ZP_INLINE Int hi16(Int a, Int b) { return _mm512_unpackhi_epi16(a, b); }
  ZP_INLINE Int dot4(Int acc, Int x, Int w) { return _mm512_dpbusd_epi32(acc, x, w); }
  ZP_INLINE Float scaled(Int acc, Float m) { return _mm512_mul_ps(_mm512_cvtepi32_ps(acc), m); }
  ZP_INLINE Int finish(const Float* v, const Avx512Epilogue& e) {
    return avx512_round_clamp(v[0], v[1], v[2], v[3], e);
  }
  ZP_INLINE void store(act_t* y, ptrdiff_t, Int v, int count) {
    if (count == kChannels) {
      _mm512_storeu_si512(y, v);
    } else {
      _mm512_mask_storeu_epi8(y, ~uint64_t{0} >> (64 - count), v);
    }
  }
};

struct Ymm {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kChannels = 32;
  static constexpr int kStride = 32;
  ZP_INLINE Int load(const void* p) { return _mm256_loadu_si256(static_cast<const Int*>(p)); }
  ZP_INLINE Int load_run(const act_t* const* run, ptrdiff_t, int channel) {
    return load(*run + channel);
  }
  ZP_INLINE Float load_f(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
  ZP_INLINE Int lo8(Int a, Int b) { return _mm256_unpacklo_epi8(a, b); }
  ZP_INLINE Int hi8(Int a, Int b) { return _mm256_unpackhi_epi8(a, b); }
  ZP_INLINE Int lo16(Int a, Int b) { return _mm256_unpacklo_epi16(a, b); }
  ZP_INLINE Int hi16(Int a, Int b) { return _mm256_unpackhi_epi16(a, b); }
  ZP_INLINE Int dot4(Int acc, Int x, Int w) { return _mm256_dpbusd_epi32(acc, x, w); }
  ZP_INLINE Float scaled(Int acc, Float m) { return _mm256_mul_ps(_mm256_cvtepi32_ps(acc), m); }
  ZP_INLINE Int finish(const Float* v, const Avx512Epilogue& e) {
    const Float hi = _mm512_castps512_ps256(e.hi);
    const Int zero_point = _mm512_castsi512_si256(e.zero_point);
    Int i[4];
    for (int k = 0; k < 4; ++k) i[k] = _mm256_cvtps_epi32(_mm256_min_ps(v[k], hi));
    return _mm256_max_epu8(
        _mm256_packus_epi16(_mm256_adds_epi16(_mm256_packs_epi32(i[0], i[1]), zero_point),
                            _mm256_adds_epi16(_mm256_packs_epi32(i[2], i[3]), zero_point)),
        _mm512_castsi512_si256(e.qmin));
  }
  ZP_INLINE void store(act_t* y, ptrdiff_t, Int v, int count) {
    if (count == kChannels) {
      _mm256_storeu_si256(reinterpret_cast<Int*>(y), v);
    } else {
      _mm256_mask_storeu_epi8(y, ~uint32_t{0} >> (32 - count), v);
    }
  }
};

struct Xmm {
  using Int = __m128i;
  using Float = __m128;
  static constexpr int kChannels = 16;
  static constexpr int kStride = 32;
  ZP_INLINE Int load(const void* p) { return _mm_loadu_si128(static_cast<const Int*>(p)); }
  ZP_INLINE Int load_run(const act_t* const* run, ptrdiff_t, int channel) {
    return load(*run + channel);
  }
  ZP_INLINE Float load_f(const void* p) { return _mm_loadu_ps(static_cast<const float*>(p)); }
  ZP_INLINE Int lo8(Int a, Int b) { return _mm_unpacklo_epi8(a, b); }
  ZP_INLINE Int hi8(Int a, Int b) { return _mm_unpackhi_epi8(a, b); }
  ZP_INLINE Int lo16(Int a, Int b) { return _mm_unpacklo_epi16(a, b); }
  ZP_INLINE Int hi16(Int a, Int b) { return _mm_unpackhi_epi16(a, b); }
  ZP_INLINE Int dot4(Int acc, Int x, Int w) { return _mm_dpbusd_epi32(acc, x, w); }
  ZP_INLINE Float scaled(Int acc, Float m) { return _mm_mul_ps(_mm_cvtepi32_ps(acc), m); }
  ZP_INLINE Int finish(const Float* v, const Avx512Epilogue& e) {
    const Float hi = _mm512_castps512_ps128(e.hi);
    const Int zero_point = _mm512_castsi512_si128(e.zero_point);
    Int i[4];
    for (int k = 0; k < 4; ++k) i[k] = _mm_cvtps_epi32(_mm_min_ps(v[k], hi));
    return _mm_max_epu8(_mm_packus_epi16(_mm_adds_epi16(_mm_packs_epi32(i[0], i[1]), zero_point),
                                         _mm_adds_epi16(_mm_packs_epi32(i[2], i[3]), zero_point)),
                        _mm512_castsi512_si128(e.qmin));
  }
  ZP_INLINE void store(act_t* y, ptrdiff_t, Int v, int count) {
    if (count == kChannels) {
      _mm_storeu_si128(reinterpret_cast<Int*>(y), v);
    } else {
      _mm_mask_storeu_epi8(y, static_cast<__mmask16>(0xFFFF >> (16 - count)), v);
    }
  }
};

// Two tiles of 16 channels at once, one in each half of a register.
struct XmmPair : Ymm {
  ZP_INLINE Int load_run(const act_t* const* run, ptrdiff_t second, int channel) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(Xmm::load(*run + channel)),
                                   Xmm::load(run[second] + channel), 1);
  }
  ZP_INLINE void store(act_t* y, ptrdiff_t second, Int v, int count) {
    Xmm::store(y, 0, _mm256_castsi256_si128(v), count);
    Xmm::store(y + second, 0, _mm256_extracti128_si256(v, 1), count);
  }
};

constexpr int kMaxTaps = 1024;  // more than this is left to the portable kernel
constexpr int kMaxPixels = 64;  // output pixels whose pointers are gathered at once

bool applies(const Problem& problem) { return problem.taps <= kMaxTaps; }

// Width of the block that starts where `rest` channels are left.
int block_width(int rest) { return rest > 32 ? 64 : rest > 16 ? 32 : 16; }

// The width of a kernel that has a form of its own, or 0. A kernel of 1x9 counts as 3x3 too: its
// pixels then are no neighbours.
int square_side(int taps) { return taps == 9 ? 3 : taps == 25 ? 5 : 0; }

// Sets of weights for each row of such a kernel.
constexpr int row_sets(int side) { return side == 3 ? 2 : 4; }

int weight_sets(int taps) {
  const int side = square_side(taps);
  return side != 0 ? side * row_sets(side) : (taps + 3) / 4;
}

// A block of 16 channels is packed twice, side by side, to serve XmmPair.
int packed_width(int width) { return width < 32 ? 32 : width; }

size_t block_bytes(int width, int taps) {
  return static_cast<size_t>(packed_width(width)) * 4 * static_cast<size_t>(2 + weight_sets(taps));
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

// The tap whose weight is byte `byte` of set `set`, or -1 for none.
int tap_of(int set, int byte, int taps) {
  if (const int side = square_side(taps)) {
    const int shift = set % 2;
    const bool from_third = set % row_sets(side) >= 2;
    if (from_third && byte < 2) return -1;  // the first four columns have these
    const int column = byte - shift + (from_third ? 2 : 0);
    return column >= 0 && column < side ? set / row_sets(side) * side + column : -1;
  }
  const int tap = set * 4 + byte;
  return tap < taps ? tap : -1;
}

void pack(const PackArgs& args, void* packed) {
  auto* out = static_cast<uint8_t*>(packed);
  const int sets = weight_sets(args.taps);
  for (int c0 = 0; c0 < args.channels;) {
    const int width = block_width(args.channels - c0);
    const int slots = packed_width(width);
    std::memset(out, 0, block_bytes(width, args.taps));
    for (int slot = 0; slot < slots; ++slot) {
      // Dword `slot` of the four registers: register v, 128-bit part, dword in the part.
      const int v = slot / (slots / 4);
      const int part = slot % (slots / 4) / 4;
      const int c = c0 + part * 16 % width + v * 4 + slot % 4;
      if (c >= args.channels) continue;
      std::memcpy(out + slot * 4, &args.bias[c], 4);
      std::memcpy(out + (slots + slot) * 4, &args.multiplier[c], 4);
      for (int set = 0; set < sets; ++set) {
        for (int byte = 0; byte < 4; ++byte) {
          const int tap = tap_of(set, byte, args.taps);
          if (tap < 0) continue;
          out[(static_cast<size_t>(2 + set) * slots + slot) * 4 + byte] =
              static_cast<uint8_t>(args.weights[static_cast<ptrdiff_t>(tap) * args.channels + c]);
        }
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
ZP_INLINE void finish_tile(const Tile& tile, typename V::Int acc[kPixels][4],
                           const Avx512Epilogue& epilogue) {
  constexpr int kBytes = V::kStride;
  for (int p = 0; p < kPixels; ++p) {
    typename V::Float scaled[4];
    for (int v = 0; v < 4; ++v) {
      scaled[v] = V::scaled(acc[p][v], V::load_f(tile.block + (4 + v) * kBytes));
    }
    V::store(tile.y + p * tile.y_stride, kPixels * tile.y_stride, V::finish(scaled, epilogue),
             tile.count);
  }
}

// kPixels (1, 2 or 4) neighbouring outputs of a kernel with kSide columns and rows (3 or 5),
// kStep (1 or 2) input columns apart.
template <typename V, int kSide, int kPixels, int kStep>
ZP_INLINE void tile_square(const Tile& tile, const Avx512Epilogue& epilogue) {
  using Int = typename V::Int;
  constexpr int kBytes = V::kStride;
  constexpr int kTaps = kSide * kSide;
  constexpr int kColumns = (kPixels - 1) * kStep + kSide;
  constexpr int kPairs = (kColumns + 1) / 2;
  constexpr int kOutputs = kStep == 1 ? (kPixels + 1) / 2 : kPixels;  // that begin at even columns
  constexpr bool kShifted = kStep == 1 && kPixels > 1;  // are there ones that begin at odd columns?

  Int acc[kPixels][4];
  for (int v = 0; v < 4; ++v) {
    const Int bias = V::load(tile.block + v * kBytes);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = bias;
  }
  const uint8_t* weights = tile.block + 8 * kBytes;
#pragma GCC unroll 3
  for (int row = 0; row < kSide; ++row) {
    Int lo[kPairs], hi[kPairs];  // columns 2k and 2k + 1, as 16-bit pairs
    for (int k = 0; k < kPairs; ++k) {
      Int x[2];
      for (int j = 0; j < 2; ++j) {
        // An odd number of columns: the one too many meets a zero weight, so it may be any.
        const int column = 2 * k + j < kColumns ? 2 * k + j : kColumns - 1;
        const int pixel = column < kSide ? 0 : (column - kSide) / kStep + 1;  // first to read it
        const int tap = row * kSide + column - pixel * kStep;
        x[j] = V::load_run(tile.runs + pixel * kTaps + tap, kPixels * kTaps, tile.channel);
      }
      lo[k] = V::lo8(x[0], x[1]);
      hi[k] = V::hi8(x[0], x[1]);
    }
    for (int v = 0; v < 4; ++v) {
      Int w[row_sets(kSide)];
      for (int set = 0; set < row_sets(kSide); ++set) {
        w[set] = V::load(weights + (set * 4 + v) * kBytes);
      }
      for (int k = 0; k + 1 < kPairs; ++k) {
        // Columns 2k .. 2k + 3: the first four of the output that begins at 2k, and of 5x5 those
        // from the third on of the output that begins two columns earlier.
        const Int x = v == 0   ? V::lo16(lo[k], lo[k + 1])
                      : v == 1 ? V::hi16(lo[k], lo[k + 1])
                      : v == 2 ? V::lo16(hi[k], hi[k + 1])
                               : V::hi16(hi[k], hi[k + 1]);
        for (int third = 0; third < row_sets(kSide) / 2; ++third) {
          const int output = k - third;
          if (output < 0 || output >= kOutputs) continue;
          const int p = kStep == 1 ? 2 * output : output;
          acc[p][v] = V::dot4(acc[p][v], x, w[2 * third]);
          if (kShifted) acc[p + 1][v] = V::dot4(acc[p + 1][v], x, w[2 * third + 1]);
        }
      }
    }
    weights += row_sets(kSide) * 4 * kBytes;
  }
  finish_tile<V, kPixels>(tile, acc, epilogue);
}

// Any taps, any pixels.
template <typename V, int kPixels>
ZP_INLINE void tile_any(const Tile& tile, const Avx512Epilogue& epilogue) {
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
      Int x[4];
      for (int j = 0; j < 4; ++j) {
        x[j] = V::load_run(runs + taps[j], ptrdiff_t{kPixels} * tile.taps, tile.channel);
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
  finish_tile<V, kPixels>(tile, acc, epilogue);
}

// A tile's pixels: how many, and for a square kernel the input columns from each to the next.
struct Group {
  uint8_t pixels;
  uint8_t step;
};

template <typename V, int kSide>
ZP_INLINE void run_square(const Tile& tile, Group group, const Avx512Epilogue& epilogue) {
  if (group.pixels == 4) {
    if (group.step == 1) {
      tile_square<V, kSide, 4, 1>(tile, epilogue);
    } else {
      tile_square<V, kSide, 4, 2>(tile, epilogue);
    }
  } else if (group.pixels == 2) {
    if (group.step == 1) {
      tile_square<V, kSide, 2, 1>(tile, epilogue);
    } else {
      tile_square<V, kSide, 2, 2>(tile, epilogue);
    }
  } else {
    tile_square<V, kSide, 1, 1>(tile, epilogue);
  }
}

template <typename V>
ZP_INLINE void run_group(const Tile& tile, Group group, const Avx512Epilogue& epilogue) {
  switch (square_side(tile.taps)) {
    case 3:
      return run_square<V, 3>(tile, group, epilogue);
    case 5:
      return run_square<V, 5>(tile, group, epilogue);
    default:
      return group.pixels == 2 ? tile_any<V, 2>(tile, epilogue) : tile_any<V, 1>(tile, epilogue);
  }
}

// All pixels of a chunk for one block of channels.
template <typename V>
void run_block(Tile tile, const Group* groups, int group_count, const Avx512Epilogue& epilogue) {
  for (int i = 0; i < group_count; ++i) {
    const Group group = groups[i];
    int pixels = group.pixels;
    if (V::kChannels == 16 && i + 1 < group_count && groups[i + 1].pixels == group.pixels &&
        groups[i + 1].step == group.step) {
      run_group<XmmPair>(tile, group, epilogue);
      pixels *= 2;
      ++i;
    } else {
      run_group<V>(tile, group, epilogue);
    }
    tile.runs += pixels * tile.taps;
    tile.y += pixels * tile.y_stride;
  }
}

// A bit for each tap of a square kernel whose column + step stays inside.
constexpr uint32_t shared_taps(int side, int step) {
  uint32_t bits = 0;
  for (int t = 0; t < side * side; ++t) bits |= static_cast<uint32_t>(t % side + step < side) << t;
  return bits;
}

// Does a pixel of a square kernel read, in each kernel row, what the pixel before it (whose offsets
// these are) reads kStep columns further? The last tap is never shared, which leaves 8 or 24.
template <int kSide, int kStep>
ZP_INLINE bool is_neighbour(const int32_t* offsets) {
  constexpr uint32_t kShared = shared_taps(kSide, kStep);
  const auto differ = [&](int t) __attribute__((always_inline)) {
    const auto* later = reinterpret_cast<const __m256i*>(offsets + kSide * kSide + t);
    const auto* earlier = reinterpret_cast<const __m256i*>(offsets + kStep + t);
    return _mm256_mask_cmpneq_epi32_mask(static_cast<__mmask8>(kShared >> t),
                                         _mm256_loadu_si256(later), _mm256_loadu_si256(earlier));
  };
  if (kSide == 3) return differ(0) == 0;
  return (differ(0) | differ(8) | differ(16)) == 0;
}

// How many of `pixels` pixels from the first on are neighbours, at most four.
template <int kSide, int kStep>
ZP_INLINE int count_neighbours(const int32_t* offsets, int pixels) {
  int n = 1;
  while (n < 4 && n < pixels && is_neighbour<kSide, kStep>(offsets)) {
    offsets += kSide * kSide;
    ++n;
  }
  return n;
}

// Cuts `pixels` output pixels into tiles; returns how many.
template <int kSide>
int plan_square(const int32_t* offsets, int pixels, Group* groups) {
  int count = 0;
  while (pixels > 0) {
    int size = count_neighbours<kSide, 1>(offsets, pixels);
    uint8_t step = 1;
    if (size == 1) {
      size = count_neighbours<kSide, 2>(offsets, pixels);
      step = size > 1 ? 2 : 1;
    }
    if (size == 3) size = 2;
    groups[count++] = {static_cast<uint8_t>(size), step};
    offsets += size * kSide * kSide;
    pixels -= size;
  }
  return count;
}

int plan_groups(const int32_t* offsets, int taps, int pixels, Group* groups) {
  const int side = square_side(taps);
  if (side == 3) return plan_square<3>(offsets, pixels, groups);
  if (side == 5) return plan_square<5>(offsets, pixels, groups);
  int count = 0;
  for (; pixels > 0; pixels -= 2) groups[count++] = {static_cast<uint8_t>(pixels > 1 ? 2 : 1), 1};
  return count;
}

// The addresses of `count` runs, eight at a time (`runs` has room for a multiple of eight).
void gather_runs(const Rows<act_t>& x, const int32_t* offsets, int count, const act_t** runs) {
  const __m512i base = _mm512_set1_epi64(reinterpret_cast<intptr_t>(x.base));
  const __m512i pad_row = _mm512_set1_epi64(reinterpret_cast<intptr_t>(x.pad_row));
  const auto gather = [&](int i, __mmask8 mask) __attribute__((always_inline)) {
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
  const Avx512Epilogue epilogue = avx512_epilogue(args.clamp);
  const act_t* runs[kMaxTaps];
  Group groups[kMaxPixels];
  int chunk = kMaxTaps / taps;
  if (chunk > kMaxPixels) chunk = kMaxPixels;

  // Pixels in chunks, blocks of channels within: a block's weights stay in L1 for a whole chunk.
  for (int64_t p0 = args.pixel_begin; p0 < args.pixel_end; p0 += chunk) {
    const int pixels = static_cast<int>(args.pixel_end - p0 < chunk ? args.pixel_end - p0 : chunk);
    const int32_t* offsets = args.x.offsets + p0 * taps;
    gather_runs(args.x, offsets, pixels * taps, runs);
    const int group_count = plan_groups(offsets, taps, pixels, groups);

    const auto* block = static_cast<const uint8_t*>(args.packed);
    for (int c0 = 0; c0 < channels;) {
      const int rest = channels - c0;
      const int width = block_width(rest);
      const Tile tile = {runs,          block, args.y + p0 * args.y_stride + c0,
                         args.y_stride, c0,    rest < width ? rest : width,
                         taps};
      if (width == 64) {
        run_block<Zmm>(tile, groups, group_count, epilogue);
      } else if (width == 32) {
        run_block<Ymm>(tile, groups, group_count, epilogue);
      } else {
        run_block<Xmm>(tile, groups, group_count, epilogue);
      }
      block += block_bytes(width, taps);
      c0 += width;
    }
  }
}

constexpr Kernel kKernels[] = {
    {"depthwise_s8_64_avx512vnni", Isa::avx512vnni, applies, packed_bytes, pack, run}};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::depthwise_s8
