// Square kernels (3x3, 5x5; stride 1 or 2) over the geometry of an image, with vpmaddwd over two
// taps of one channel. For ISA files only.
//
// 16 channels go along the columns of the image. All kernel rows but the last pair up vertically;
// the last one pairs up horizontally, with itself in the next column:
//   vertical pair    (x[r][c], x[r + 1][c]), which meets (w[r][k], w[r + 1][k]) of every k
//   horizontal pair  (x[r][c], x[r][c + 1]), which meets (w[r][0], w[r][1]), (w[r][2], w[r][3]),
//   ...
// so that 3x3 takes five products instead of six, and 5x5 thirteen. A pair is interleaved once for
// all output columns that it serves, which are under way together.
//
// Packed: a ScalingHeader; then for each block of 16 channels [16] int32 bias, the same plus the
// bits of 2^23, [16] float multiplier, [16] float -2^23 * multiplier, and sets of [16][2] int16
// weights: of the vertical pairs [pair][kernel column], then of the horizontal ones.
// Channels stand in the order in which vpunpck(l|h)wd leaves words.
// Accumulators: int32, exact: |255 * 128 * 2| fits, and vpmaddwd cannot saturate on such operands.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8.h"
#include "kernels/depthwise_s8/scaling.h"
#include "kernels/depthwise_s8/strip.h"
#include "kernels/epilogue_avx2.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

constexpr int kColumnBlock = 16;   // channels
constexpr int kHeadBytes = 256;    // of a block: what precedes the weights
constexpr int kStripPixels = 256;  // of input: a line of 64 bytes of each stays in half of L1

template <int kSide_, int kStep_>
struct Square {
  static constexpr int kSide = kSide_;
  static constexpr int kStep = kStep_;
  static constexpr int kPairs = kSide / 2;          // vertical ones
  static constexpr int kVertical = kPairs * kSide;  // sets of weights for them
  static constexpr int kSets = kVertical + kPairs + 1;
  static constexpr int kLive = (kSide - 1) / kStep;  // output columns under way between two steps
};

template <typename S>
constexpr size_t columns_block_bytes() {
  return kHeadBytes + 64 * static_cast<size_t>(S::kSets);
}

template <typename S>
size_t columns_packed_bytes(int, int channels) {
  return kScalingHeaderBytes + static_cast<size_t>((channels + kColumnBlock - 1) / kColumnBlock) *
                                   columns_block_bytes<S>();
}

// The tap that half `half` of a dword of set `set` weighs, or -1 for none.
template <typename S>
int columns_tap(int set, int half) {
  if (set < S::kVertical) {
    return (2 * (set / S::kSide) + half) * S::kSide + set % S::kSide;
  }
  int column = 2 * (set - S::kVertical) + half;
  // The last column stands alone. With stride 1 its pair is the one that ends there.
  if (S::kStep == 1 && set == S::kSets - 1) column = half == 1 ? S::kSide - 1 : -1;
  return column >= 0 && column < S::kSide ? (S::kSide - 1) * S::kSide + column : -1;
}

template <typename S>
void columns_pack(const PackArgs& args, void* packed) {
  auto* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, columns_packed_bytes<S>(args.taps, args.channels));
  const ScalingHeader header = prove(args);
  std::memcpy(out, &header, sizeof header);
  out += kScalingHeaderBytes;
  for (int c0 = 0; c0 < args.channels; c0 += kColumnBlock) {
    for (int slot = 0; slot < kColumnBlock; ++slot) {
      // Dword `slot` of the two registers: register slot / 8, its half, dword in the half.
      const int c = c0 + slot / 4 % 2 * 8 + slot / 8 * 4 + slot % 4;
      if (c >= args.channels) continue;
      const auto shifted = static_cast<int32_t>(static_cast<uint32_t>(args.bias[c]) + kTwo23Bits);
      const float offset = args.multiplier[c] * -8388608.0f;
      std::memcpy(out + slot * 4, &args.bias[c], 4);
      std::memcpy(out + 64 + slot * 4, &shifted, 4);
      std::memcpy(out + 128 + slot * 4, &args.multiplier[c], 4);
      std::memcpy(out + 192 + slot * 4, &offset, 4);
      for (int i = 0; i < S::kSets * 2; ++i) {
        const int tap = columns_tap<S>(i / 2, i % 2);
        if (tap < 0) continue;
        const int16_t w = args.weights[static_cast<ptrdiff_t>(tap) * args.channels + c];
        std::memcpy(out + kHeadBytes + (i / 2 * kColumnBlock + slot) * 4 + i % 2 * 2, &w, 2);
      }
    }
    out += columns_block_bytes<S>();
  }
}

template <typename S, Scaling kScaling>
struct ColumnsWalk {
  // A column of the image: where it lies in a row, unless it is padding.
  struct Column {
    bool inside;
    ptrdiff_t at;
  };

  // Of the output columns that this step touches, the newest first: [0] begins, [kLive] ends.
  __m256i sums[S::kLive + 1][2];
  __m256i done[2];  // the one that ended in the step before: it is stored now
  __m256i before;   // with stride 1: the last row of the column before
  // A copy, because the bytes stored to y could alias the original.
  const Strip s;
  const Avx2Epilogue epilogue;
  const act_t* rows[S::kSide];
  act_t* y;

  explicit ZEROPOINT_INLINE ColumnsWalk(const Strip& strip, const OutputClamp& clamp)
      : s(strip), epilogue(avx2_epilogue(clamp)) {}

  ZEROPOINT_INLINE void turn_to(int tile) {
    y = s.y + tile * s.y_row;
    unroll<S::kSide>([&](auto r) ZEROPOINT_LAMBDA {
      const int row = s.row + tile * S::kStep + decltype(r)::value;
      const bool inside = row >= 0 && row < s.height;
      rows[decltype(r)::value] =
          inside ? s.x + static_cast<ptrdiff_t>(row) * s.width * s.channels : s.pad;
    });
  }

  template <bool kInside>
  ZEROPOINT_INLINE Column column(int c) const {
    return {kInside || static_cast<unsigned>(c) < static_cast<unsigned>(s.width), c * s.channels};
  }

  template <int kRow>
  ZEROPOINT_INLINE __m256i load(const Column& column) const {
    const act_t* run = column.inside ? rows[kRow] + column.at : s.pad;
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(run)));
  }

  ZEROPOINT_INLINE __m256i vector(int at) const {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(s.block + at));
  }

  // Two runs, interleaved.
  struct Pair {
    __m256i low, high;

    ZEROPOINT_INLINE Pair(__m256i a, __m256i b)
        : low(_mm256_unpacklo_epi16(a, b)), high(_mm256_unpackhi_epi16(a, b)) {}
  };

  static ZEROPOINT_INLINE __m256i plus(__m256i sum, __m256i x, __m256i w) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
    // GCC would first compute all products, for which there are not enough registers.
    asm("" : "+x"(sum));
    return sum;
  }

  // Adds the products of the pair with set kSet to the output column of age kAge.
  template <int kSet, int kAge>
  ZEROPOINT_INLINE void add(const Pair& x) {
    sums[kAge][0] = plus(sums[kAge][0], x.low, vector(kHeadBytes + kSet * 64));
    sums[kAge][1] = plus(sums[kAge][1], x.high, vector(kHeadBytes + kSet * 64 + 32));
  }

  template <int kVector>
  ZEROPOINT_INLINE __m256i rounded(__m256i sum) const {
    const __m256 m = _mm256_castsi256_ps(vector(128 + kVector * 32));
    if constexpr (kScaling == Scaling::from_zero) {
      const __m256 offset = _mm256_castsi256_ps(vector(192 + kVector * 32));
      return _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_castsi256_ps(sum), m, offset));
    }
    __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), m);
    if (kScaling == Scaling::any) scaled = _mm256_min_ps(scaled, epilogue.hi);
    return _mm256_cvtps_epi32(scaled);
  }

  ZEROPOINT_INLINE void finish(int output) const {
    const __m256i r0 = rounded<0>(done[0]), r1 = rounded<1>(done[1]);
    __m256i words = _mm256_packs_epi32(r0, r1);
    if (kScaling != Scaling::from_zero) words = _mm256_adds_epi16(words, epilogue.zero_point);
    __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (kScaling == Scaling::any) {
      bytes = _mm_max_epu8(bytes, _mm256_castsi256_si128(epilogue.qmin));
    }
    act_t* to = y + output * s.y_stride;
    if (s.count >= kColumnBlock) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    } else {
      alignas(16) act_t first[kColumnBlock];
      _mm_store_si128(reinterpret_cast<__m128i*>(first), bytes);
      avx2_copy_below_32(to, first, s.count);
    }
  }

  // Adds the vertical pair kPair of column kColumn of the step, to output columns of the ages from
  // kYoungest to kOldest.
  template <int kPair, int kColumn, int kYoungest, int kOldest>
  ZEROPOINT_INLINE void add_vertical(const Column& column) {
    const Pair x(load<2 * kPair>(column), load<2 * kPair + 1>(column));
    unroll<kOldest - kYoungest + 1>([&](auto younger) ZEROPOINT_LAMBDA {
      constexpr int kAge = kOldest - decltype(younger)::value;
      constexpr int kTap = kAge * S::kStep + kColumn;
      if constexpr (kTap < S::kSide) add<kPair * S::kSide + kTap, kAge>(x);
    });
  }

  template <int kYoungest, int kOldest>
  ZEROPOINT_INLINE void add_horizontal(const Pair& x) {
    unroll<kOldest + 1, kYoungest>([&](auto age) ZEROPOINT_LAMBDA {
      constexpr int kAge = decltype(age)::value;
      if constexpr (S::kStep == 2) {
        add<S::kVertical + kAge, kAge>(x);
      } else if constexpr (kAge % 2 == 1) {
        add<S::kVertical + kAge / 2, kAge>(x);
      } else if constexpr (kAge == S::kLive) {
        add<S::kSets - 1, kAge>(x);
      }
    });
  }

  // Goes on by kStep columns from `c` on, of which output columns of the ages from kYoungest to
  // kOldest are wanted: 0 begins there; kLive ends as column `output`. kInside: all of
  // the input columns lie in the image.
  template <int kYoungest, int kOldest, bool kInside = false>
  ZEROPOINT_INLINE void step(int c, int output) {
    // Storing what ended in the step before overlaps with this step. The first time that is
    // nothing, which the next step overwrites.
    if constexpr (kOldest == S::kLive) finish(output > 0 ? output - 1 : 0);

    constexpr int kBias = kScaling == Scaling::from_zero ? 64 : 0;
    sums[0][0] = vector(kBias);
    sums[0][1] = vector(kBias + 32);
    const Column first = column<kInside>(c);
    const __m256i last = load<S::kSide - 1>(first);
    if constexpr (S::kStep == 1) {
      add_horizontal<kYoungest, kOldest>(Pair(before, last));
      before = last;
    } else {
      const Column second = column<kInside>(c + 1);
      add_horizontal<kYoungest, kOldest>(Pair(last, load<S::kSide - 1>(second)));
      unroll<S::kPairs>([&](auto pair) ZEROPOINT_LAMBDA {
        add_vertical<decltype(pair)::value, 1, kYoungest, kOldest>(second);
      });
    }
    unroll<S::kPairs>([&](auto pair) ZEROPOINT_LAMBDA {
      add_vertical<decltype(pair)::value, 0, kYoungest, kOldest>(first);
    });
    if constexpr (kOldest == S::kLive) {
      done[0] = sums[S::kLive][0];
      done[1] = sums[S::kLive][1];
    }
    unroll<S::kLive>([&](auto younger) ZEROPOINT_LAMBDA {
      constexpr int kAge = S::kLive - decltype(younger)::value;
      sums[kAge][0] = sums[kAge - 1][0];
      sums[kAge][1] = sums[kAge - 1][1];
    });
  }

  ZEROPOINT_INLINE void run() {
    for (int tile = 0; tile < s.tiles; ++tile) {
      turn_to(tile);
      int c = s.column;
      before = done[0] = done[1] = _mm256_setzero_si256();
      unroll<S::kLive>([&](auto oldest) ZEROPOINT_LAMBDA {
        step<0, decltype(oldest)::value>(c, 0);
        c += S::kStep;
      });
      int output = 0;
      if (c >= 0) {
        const int of_image = (s.width - c) / S::kStep, of_outputs = s.outputs - S::kLive;
        const int inside = of_image < of_outputs ? of_image : of_outputs;
        for (; output < inside; ++output, c += S::kStep) step<0, S::kLive, true>(c, output);
      }
      for (; output < s.outputs - S::kLive; ++output, c += S::kStep) {
        step<0, S::kLive>(c, output);
      }
      // The last ones begin no others.
      unroll<S::kLive + 1, 1>([&](auto youngest) ZEROPOINT_LAMBDA {
        constexpr int kYoungest = decltype(youngest)::value;
        if (output != s.outputs - 1 - S::kLive + kYoungest) return;
        step<kYoungest, S::kLive>(c, output);
        ++output;
        c += S::kStep;
      });
      finish(output - 1);
    }
  }
};

template <typename S>
void run_strip(const Strip& strip, const OutputClamp& clamp, Scaling scaling) {
  switch (scaling) {
    case Scaling::from_zero:
      return ColumnsWalk<S, Scaling::from_zero>(strip, clamp).run();
    case Scaling::whole_range:
      return ColumnsWalk<S, Scaling::whole_range>(strip, clamp).run();
    default:
      return ColumnsWalk<S, Scaling::any>(strip, clamp).run();
  }
}

// `tiles` output rows from `row` on, in pieces of about `columns` output columns.
template <typename S>
void run_tiles(const RunArgs& args, int row, int tiles, int columns, Scaling scaling) {
  const Grid& grid = *args.grid;
  Strip strip;
  strip.channels = args.x.depth;
  strip.height = grid.height;
  strip.width = grid.width;
  strip.row = row * S::kStep - grid.pad_top;
  strip.y_stride = args.y_stride;
  strip.y_row = args.y_stride * grid.out_width;
  strip.tiles = tiles;
  const int pieces = (grid.out_width + columns - 1) / columns;
  for (int piece = 0; piece < pieces; ++piece) {
    const int begin = static_cast<int>(int64_t{grid.out_width} * piece / pieces);
    const int end = static_cast<int>(int64_t{grid.out_width} * (piece + 1) / pieces);
    strip.column = begin * S::kStep - grid.pad_left;
    strip.outputs = end - begin;
    strip.block = static_cast<const uint8_t*>(args.packed) + kScalingHeaderBytes;
    for (int c0 = 0; c0 < args.x.depth; c0 += kColumnBlock) {
      strip.x = args.x.base + c0;
      strip.pad = args.x.pad_row + c0;
      strip.y = args.y + row * strip.y_row + begin * strip.y_stride + c0;
      strip.count = args.x.depth - c0;
      run_strip<S>(strip, args.clamp, scaling);
      strip.block += columns_block_bytes<S>();
    }
  }
}

template <typename S>
void columns_run(const RunArgs& args) {
  // Blocks that share cache lines should find them in L1: near-square strips of the image, whose
  // columns are cut only where one output row is already too much.
  const Grid& grid = *args.grid;
  const int fitting = (kStripPixels / S::kSide - S::kSide) / S::kStep + 1;
  const int pieces = (grid.out_width + fitting - 1) / fitting;
  const int columns = (grid.out_width + pieces - 1) / pieces;
  const int input_columns = (columns - 1) * S::kStep + S::kSide;
  const int input_rows = kStripPixels / input_columns;
  const int at_once = input_rows <= S::kSide ? 1 : 1 + (input_rows - S::kSide) / S::kStep;
  const Scaling scaling = scaling_for(args.packed, args.clamp);
  const int begin = static_cast<int>(args.pixel_begin / grid.out_width);
  const int end = static_cast<int>(args.pixel_end / grid.out_width);
  for (int row = begin; row < end; row += at_once) {
    run_tiles<S>(args, row, end - row < at_once ? end - row : at_once, columns, scaling);
  }
}

template <typename S>
bool columns_applies(const Problem& problem) {
  return problem.side == S::kSide && problem.stride == S::kStep;
}

template <typename S>
constexpr Kernel columns_kernel(const char* name, Isa isa) {
  return {name,           isa, columns_applies<S>, columns_packed_bytes<S>, columns_pack<S>,
          columns_run<S>, true};
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
