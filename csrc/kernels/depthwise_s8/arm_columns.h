// Square kernels (3x3, 5x5; stride 1 or 2) over the geometry of an image, on Arm. For ISA files
// only.
//
// Eight channels at a time, or sixteen, go along the columns of the image: each input column is
// loaded and brought into the form that the multiplication wants (Dot, below) once for all the
// output columns that it serves, and with stride 1 and 3x3 for two output rows. Accumulators of
// output columns under way rotate with the period of the kernel.
//
// A Dot<Shape> says how products are summed:
//   Input, kInputs    an input column: kInputs vectors
//   Weight, kWeights  weights of eight channels: kWeights vectors of 16 bytes
//   kHeldWeights      how many of the weights stay in registers
//   kHeldConstants    whether bias and multipliers do
//   load(run, x)      brings the runs run(Index<r>) of activations, one an input row, into
//   x[block] add<row, tap>(x, weight, sums)  adds a kernel column to the sums of an output row and
//   a block,
//                     whose packed weights are weight(Index<0>), ... weight(Index<kWeights -
//                     1>)
//   pack(weights, c, out)  writes the weights of channel c of eight
//
// Packed, per block of 8 channels: [8] int32 bias, [8] float multiplier, the Dot's weights.
// Accumulators: int32, exact under the bound that the caller has proved.
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "kernels/depthwise_s8/depthwise_s8.h"
#include "kernels/depthwise_s8/strip.h"
#include "kernels/epilogue_neon.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

#define ZP_EACH(i) [&](auto i) ZEROPOINT_LAMBDA

constexpr int kColumnBlock = 8;    // channels
constexpr int kHeadBytes = 64;     // bias and multipliers of a block
constexpr int kStripPixels = 384;  // of input: a line of 64 bytes of each stays in 24 KB of L1

template <int kSide_, int kStep_, int kRows_, int kBlocks_ = 1>
struct Shape {
  static constexpr int kSide = kSide_;
  static constexpr int kStep = kStep_;
  static constexpr int kRows = kRows_;      // output rows at once
  static constexpr int kBlocks = kBlocks_;  // of eight channels at once, 1 or 2
  static constexpr int kInputRows = (kRows - 1) * kStep + kSide;
  static constexpr int kLive = (kSide - 1) / kStep;  // output columns under way
  static constexpr int kPeriod = kSide - 1;          // input columns until accumulators recur
  // A block's stride must be that of its own shape, so either one or the other.
  static_assert(kRows == 1 || kBlocks == 1);
  using OneRow = Shape<kSide, kStep, 1, kBlocks>;
  using OneBlock = Shape<kSide, kStep, kRows, 1>;
};

template <template <typename> class Dot, typename S>
constexpr size_t columns_block_bytes() {
  return kHeadBytes + 16 * static_cast<size_t>(Dot<S>::kWeights);
}

template <template <typename> class Dot, typename S>
size_t columns_packed_bytes(int, int channels) {
  return static_cast<size_t>((channels + kColumnBlock - 1) / kColumnBlock) *
         columns_block_bytes<Dot, S>();
}

template <template <typename> class Dot, typename S>
void columns_pack(const PackArgs& args, void* packed) {
  auto* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, columns_packed_bytes<Dot, S>(args.taps, args.channels));
  for (int c0 = 0; c0 < args.channels; c0 += kColumnBlock) {
    const int rest = args.channels - c0;
    const int count = rest < kColumnBlock ? rest : kColumnBlock;
    std::memcpy(out, args.bias + c0, static_cast<size_t>(count) * 4);
    std::memcpy(out + 32, args.multiplier + c0, static_cast<size_t>(count) * 4);
    for (int c = 0; c < count; ++c) {
      int8_t weights[S::kSide * S::kSide];
      for (int t = 0; t < S::kSide * S::kSide; ++t) {
        weights[t] = args.weights[static_cast<ptrdiff_t>(t) * args.channels + c0 + c];
      }
      Dot<S>::pack(weights, c, out + kHeadBytes);
    }
    out += columns_block_bytes<Dot, S>();
  }
}

// Accumulators of eight channels.
struct Sums {
  int32x4_t low, high;
};

// Vectors of packed blocks, kStride bytes from one block to the next: the first kHeld of a block in
// registers, the others read where they are used.
template <typename Vector, int kBlocks, int kStride, int kHeld>
struct Vectors {
  const uint8_t* packed;
  Vector vectors[kBlocks][kHeld > 0 ? kHeld : 1];

  explicit ZEROPOINT_INLINE Vectors(const uint8_t* at) : packed(at) {
    unroll<kBlocks * kHeld>(ZP_EACH(i) {
      constexpr int kBlock = decltype(i)::value / kHeld, kAt = decltype(i)::value % kHeld;
      vectors[kBlock][kAt] = read(kBlock, kAt);
    });
  }
  ZEROPOINT_INLINE Vector read(int block, int i) const {
    Vector v;
    std::memcpy(&v, packed + block * kStride + 16 * i, 16);
    return v;
  }
  template <int kBlock, int kAt>
  ZEROPOINT_INLINE Vector get() const {
    if constexpr (kAt < kHeld) return vectors[kBlock][kAt];
    return read(kBlock, kAt);
  }
};

// kWhole: all channels of the blocks are stored. kClamp: the output's clamp is narrower than int8.
template <template <typename> class Dot, typename S, bool kWhole, bool kClamp>
struct Walk {
  using D = Dot<S>;
  template <typename Vector, int kHeld>
  using Packed = Vectors<Vector, S::kBlocks, int{columns_block_bytes<Dot, S>()}, kHeld>;

  Sums acc[S::kLive][S::kRows][S::kBlocks];
  typename D::Input x[S::kBlocks][D::kInputs];  // the column at hand
  const Strip s;                                // a copy: y could alias the original
  const Packed<typename D::Weight, D::kHeldWeights> weights;
  const Packed<int32x4_t, D::kHeldConstants && S::kBlocks == 1 ? 2 : 0> bias;
  const Packed<float32x4_t, D::kHeldConstants ? 2 : 0> multiplier;
  const NeonEpilogue epilogue;
  const act_t* rows[S::kInputRows];
  act_t* y;  // first output pixel of the tile

  explicit ZEROPOINT_INLINE Walk(const Strip& strip, const OutputClamp& clamp)
      : s(strip),
        weights(strip.block + kHeadBytes),
        bias(strip.block),
        multiplier(strip.block + 32),
        epilogue(neon_epilogue(clamp)) {}

  ZEROPOINT_INLINE void turn_to(int tile) {
    y = s.y + tile * S::kRows * s.y_row;
    unroll<S::kInputRows>(ZP_EACH(r) {
      const int row = s.row + tile * S::kRows * S::kStep + decltype(r)::value;
      const bool inside = row >= 0 && row < s.height;
      rows[decltype(r)::value] =
          inside ? s.x + static_cast<ptrdiff_t>(row) * s.width * s.channels : s.pad;
    });
  }

  // The channels of all blocks; of a single one in the lower half.
  static ZEROPOINT_INLINE int8x16_t load_run(const act_t* from) {
    if constexpr (S::kBlocks == 2) return vld1q_s8(from);
    return vcombine_s8(vld1_s8(from), vdup_n_s8(0));
  }

  template <bool kInside>
  ZEROPOINT_INLINE void load_column(int column) {
    if (kInside || static_cast<unsigned>(column) < static_cast<unsigned>(s.width)) {
      const ptrdiff_t at = column * s.channels;
      D::load(ZP_EACH(r) { return load_run(rows[decltype(r)::value] + at); }, x);
    } else {
      const int8x16_t pad = load_run(s.pad);
      D::load(ZP_EACH(r) { return (void)r, pad; }, x);
    }
  }

  // Adds kernel column kTap of every output row to the accumulators of slot kSlot.
  template <int kTap, int kSlot>
  ZEROPOINT_INLINE void add_tap() {
    unroll<S::kRows * S::kBlocks>(ZP_EACH(i) {
      constexpr int kRow = decltype(i)::value / S::kBlocks;
      constexpr int kBlock = decltype(i)::value % S::kBlocks;
      Sums& sums = acc[kSlot][kRow][kBlock];
      if (kTap == 0) sums = {bias.template get<kBlock, 0>(), bias.template get<kBlock, 1>()};
      const auto weight = ZP_EACH(at) {
        return weights.template get<kBlock, decltype(at)::value>();
      };
      // What is read, is read for this tap: compilers would begin long before, and run out of
      // registers.
      if (D::kHeldWeights < D::kWeights) asm volatile("" ::: "memory");
      D::template add<kRow, kTap>(x[kBlock], weight, sums);
    });
  }

  template <int kBlock>
  ZEROPOINT_INLINE int16x8_t scaled(const Sums& sums) const {
    return neon_round(neon_scale(sums.low, multiplier.template get<kBlock, 0>()),
                      neon_scale(sums.high, multiplier.template get<kBlock, 1>()),
                      epilogue.zero_point);
  }

  template <int kSlot>
  ZEROPOINT_INLINE void finish(int output) {
    act_t* to = y + output * s.y_stride;
    unroll<S::kRows>(ZP_EACH(row) {
      const Sums(&sums)[S::kBlocks] = acc[kSlot][decltype(row)::value];
      act_t* out = to + decltype(row)::value * s.y_row;
      const int8x8_t first = vqmovn_s16(scaled<0>(sums[0]));
      if constexpr (S::kBlocks == 2) {
        int8x16_t bytes = vqmovn_high_s16(first, scaled<1>(sums[1]));
        if (kClamp) bytes = vminq_s8(vmaxq_s8(bytes, epilogue.qmin), epilogue.qmax);
        vst1q_s8(out, bytes);
      } else {
        int8x8_t bytes = first;
        if (kClamp) {
          bytes = vmin_s8(vmax_s8(bytes, vget_low_s8(epilogue.qmin)), vget_low_s8(epilogue.qmax));
        }
        if (kWhole) {
          vst1_s8(out, bytes);
        } else {
          neon_store_first_8(out, bytes, s.count);
        }
      }
    });
  }

  // The taps of column kPhase of a period, from the kernel's last column to its first.
  template <int kPhase, int kTap, bool kFinish>
  ZEROPOINT_INLINE void add_taps(int output) {
    if constexpr (kTap >= 0) {
      if constexpr (kPhase % S::kStep == kTap % S::kStep) {
        // Output columns start every kStep columns; a finished one makes room for the next.
        constexpr int kSlot = (kPhase - kTap + S::kSide * S::kPeriod) / S::kStep % S::kLive;
        if constexpr (kTap == S::kSide - 1) {
          if constexpr (kFinish) {
            add_tap<kTap, kSlot>();
            finish<kSlot>(output);
          }
        } else if constexpr (kFinish || kTap <= kPhase) {
          add_tap<kTap, kSlot>();
        }
      }
      add_taps<kPhase, kTap - 1, kFinish>(output);
    }
  }

  // One period of columns; returns whether the tile is done. kInside: all of them lie in the image
  // and finish output columns that are wanted.
  template <int kPhase, bool kFinish, bool kInside>
  ZEROPOINT_INLINE bool period(int& column, int& output) {
    if constexpr (kPhase < S::kPeriod) {
      load_column<kInside>(column++);
      add_taps<kPhase, S::kSide - 1, kFinish>(output);
      if constexpr (kFinish && kPhase % S::kStep == 0) {
        ++output;
        if (!kInside && output == s.outputs) return true;
      }
      return period<kPhase + 1, kFinish, kInside>(column, output);
    }
    return false;
  }

  ZEROPOINT_INLINE void run() {
    for (int tile = 0; tile < s.tiles; ++tile) {
      turn_to(tile);
      int column = s.column, output = 0;
      period<0, false, false>(column, output);
      if (column >= 0) {
        const int of_image = (s.width - column) / S::kPeriod;
        const int of_outputs = s.outputs / (S::kPeriod / S::kStep);
        for (int left = of_image < of_outputs ? of_image : of_outputs; left > 0; --left) {
          period<0, true, true>(column, output);
        }
        if (output == s.outputs) continue;
      }
      while (!period<0, true, false>(column, output)) {
      }
    }
  }
};

// Runs the blocks at the front of the strip; returns how many.
template <template <typename> class Dot, typename S>
int run_strip(const Strip& strip, const OutputClamp& clamp) {
  const bool narrow = clamp.qmin != kActMin || clamp.qmax != kActMax;
  if constexpr (S::kBlocks == 2) {
    if (strip.count < 2 * kColumnBlock) return run_strip<Dot, typename S::OneBlock>(strip, clamp);
  } else if (strip.count < kColumnBlock) {
    Walk<Dot, S, false, true>(strip, clamp).run();
    return 1;
  }
  if (narrow) {
    Walk<Dot, S, true, true>(strip, clamp).run();
  } else {
    Walk<Dot, S, true, false>(strip, clamp).run();
  }
  return S::kBlocks;
}

// `tiles` times S::kRows output rows from `row` on, in pieces of about `columns` output columns.
// A block is as large as Packed's, of which S may be the first row.
template <template <typename> class Dot, typename S, typename Packed>
void run_tiles(const RunArgs& args, int row, int tiles, int columns) {
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
    strip.block = static_cast<const uint8_t*>(args.packed);
    strip.x = args.x.base;
    strip.pad = args.x.pad_row;
    strip.y = args.y + row * strip.y_row + begin * strip.y_stride;
    for (strip.count = args.x.depth; strip.count > 0;) {
      const int blocks = run_strip<Dot, S>(strip, args.clamp);
      strip.block += static_cast<size_t>(blocks) * columns_block_bytes<Dot, Packed>();
      strip.x += blocks * kColumnBlock;
      strip.pad += blocks * kColumnBlock;
      strip.y += blocks * kColumnBlock;
      strip.count -= blocks * kColumnBlock;
    }
  }
}

template <template <typename> class Dot, typename S>
void columns_run(const RunArgs& args) {
  // Blocks that share cache lines should find them in L1: near-square strips of the image, whose
  // columns are cut only where one tile of rows is already too much.
  const Grid& grid = *args.grid;
  const int fitting = (kStripPixels / S::kInputRows - S::kSide) / S::kStep + 1;
  const int pieces = (grid.out_width + fitting - 1) / fitting;
  const int columns = (grid.out_width + pieces - 1) / pieces;
  const int input_columns = (columns - 1) * S::kStep + S::kSide;
  const int input_rows = kStripPixels / input_columns;
  const int tiles_at_once =
      input_rows <= S::kInputRows ? 1 : 1 + (input_rows - S::kInputRows) / (S::kRows * S::kStep);
  const int begin = static_cast<int>(args.pixel_begin / grid.out_width);
  const int end = static_cast<int>(args.pixel_end / grid.out_width);
  int row = begin;
  while (end - row >= S::kRows) {
    const int left = (end - row) / S::kRows;
    const int tiles = left < tiles_at_once ? left : tiles_at_once;
    run_tiles<Dot, S, S>(args, row, tiles, columns);
    row += tiles * S::kRows;
  }
  if (row < end) run_tiles<Dot, typename S::OneRow, S>(args, row, end - row, columns);
}

template <typename S>
bool columns_applies(const Problem& problem) {
  return problem.side == S::kSide && problem.stride == S::kStep;
}

template <template <typename> class Dot, typename S>
constexpr Kernel columns_kernel(const char* name, Isa isa) {
  return {name,
          isa,
          columns_applies<S>,
          columns_packed_bytes<Dot, S>,
          columns_pack<Dot, S>,
          columns_run<Dot, S>,
          true};
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
