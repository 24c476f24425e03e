// Square kernels (3x3, 5x5; stride 1 or 2) over the geometry of an image, with vpdpbusd, over the
// register types that the including file has brought. For ISA files only.
//
// A dword holds four vertically neighbouring activations of one channel. Going along the columns,
// each of them meets the weights of every kernel column, so it is interleaved once for all the
// output columns that it serves, and with shifted weights for two output rows of stride 1:
//   3x3: (w0, w1, w2, 0) for the upper row, (0, w0, w1, w2) for the lower one.
//   5x5: one output row, (w0, w1, w2, w3) and (w4, 0, 0, 0).
// Accumulators of output columns under way rotate with the period of the kernel. Where weights and
// accumulators of 64 channels exceed the registers, the channels take two passes, one for each half
// that the first interleaving leaves; the first pass parks its 16-bit results in a scratch row.
//
// Packed: a ScalingHeader; then for each block of W channels [W] int32 bias, [W] float multiplier,
// and sets of [W][4] int8 weights: [output row][dword][kernel column]. Channels stand in
// interleaved order. Accumulators: int32, exact under the bound that the caller has proved.
#pragma once

#include <cstring>

#include "kernels/depthwise_s8/blocks.h"
#include "kernels/depthwise_s8/depthwise_s8.h"
#include "kernels/depthwise_s8/scaling.h"
#include "kernels/depthwise_s8/strip.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

template <int kSide_, int kStep_, int kRows_>
struct Columns {
  static constexpr int kSide = kSide_;
  static constexpr int kStep = kStep_;
  static constexpr int kRows = kRows_;  // output rows at once
  static constexpr int kInputRows = kRows + kSide - 1;
  static constexpr int kDwords = (kInputRows + 3) / 4;  // down a column
  static constexpr int kPasses = kSide == 3 && kRows == 1 ? 1 : 2;
  static constexpr int kVectors = 4 / kPasses;       // of 16 channels, in a pass
  static constexpr int kLive = (kSide - 1) / kStep;  // output columns under way
  static constexpr int kPeriod = kSide - 1;          // input columns until accumulators recur
  static constexpr int kSets = kRows * kDwords * kSide;
};

constexpr int kMaxPixels = 128;     // output pixels that share a scratch buffer
constexpr int kMinColumns = 28;     // shorter pieces cost more than they gain
constexpr int kInputBytes = 26000;  // of a piece, to stay in L1

template <typename C>
size_t columns_block_bytes(int width) {
  return static_cast<size_t>(packed_width(width)) * 4 * (2 + C::kSets);
}

template <typename C>
size_t columns_packed_bytes(int, int channels) {
  size_t bytes = kScalingHeaderBytes;
  for (int c0 = 0; c0 < channels;) {
    const int width = block_width(channels - c0);
    bytes += columns_block_bytes<C>(width);
    c0 += width;
  }
  return bytes;
}

// The tap that byte `byte` of a dword of set `set` weighs, or -1 for none.
template <typename C>
int columns_tap(int set, int byte) {
  const int column = set % C::kSide;
  const int dword = set / C::kSide % C::kDwords;
  const int output_row = set / C::kSide / C::kDwords;
  const int row = dword * 4 + byte - output_row;
  return row >= 0 && row < C::kSide ? row * C::kSide + column : -1;
}

template <typename C>
void columns_pack(const PackArgs& args, void* packed) {
  auto* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, columns_packed_bytes<C>(args.taps, args.channels));
  const ScalingHeader header = prove(args);
  std::memcpy(out, &header, sizeof header);
  out += kScalingHeaderBytes;
  for (int c0 = 0; c0 < args.channels;) {
    const int width = block_width(args.channels - c0);
    const int slots = packed_width(width);
    for (int slot = 0; slot < slots; ++slot) {
      const int c = c0 + channel_of_slot(slot, width);
      if (c >= args.channels) continue;
      std::memcpy(out + slot * 4, &args.bias[c], 4);
      std::memcpy(out + (slots + slot) * 4, &args.multiplier[c], 4);
      for (int set = 0; set < C::kSets; ++set) {
        for (int byte = 0; byte < 4; ++byte) {
          const int tap = columns_tap<C>(set, byte);
          if (tap < 0) continue;
          out[((2 + set) * slots + slot) * 4 + byte] =
              static_cast<uint8_t>(args.weights[static_cast<ptrdiff_t>(tap) * args.channels + c]);
        }
      }
    }
    out += columns_block_bytes<C>(width);
    c0 += width;
  }
}

template <typename V, typename C, int kPass, Scaling kScaling>
struct Walk {
  using Int = typename V::Int;
  using Float = typename V::Float;
  static constexpr int kBytes = V::kStride;
  static constexpr int kFirst = kPass * C::kVectors;  // of the block's four vectors
  static constexpr bool kLast = kPass == C::kPasses - 1;

  Int acc[C::kLive][C::kRows][C::kVectors];
  Int x[C::kDwords][C::kVectors];  // the column at hand
  // Copies, because the bytes stored to y could alias the originals.
  const Strip s;
  Int weights[C::kSets][C::kVectors];
  Int bias[C::kVectors];
  Float multiplier[C::kVectors], offset[C::kVectors];
  const Finish<V, kScaling> finishing;
  const act_t* rows[C::kInputRows * V::kTiles];
  act_t *y, *second;  // first output pixels of the tile, and of the one beside it (or its own)

  explicit ZEROPOINT_INLINE Walk(const Strip& strip, const OutputClamp& clamp)
      : s(strip), finishing(clamp) {
    for (int set = 0; set < C::kSets; ++set) {
      for (int v = 0; v < C::kVectors; ++v) {
        weights[set][v] = V::load(s.block + (8 + set * 4 + kFirst + v) * kBytes);
      }
    }
    for (int v = 0; v < C::kVectors; ++v) {
      bias[v] = V::load(s.block + (kFirst + v) * kBytes);
      multiplier[v] = V::load_f(s.block + (4 + kFirst + v) * kBytes);
      if (kScaling == Scaling::from_zero) {
        bias[v] = V::add_s32(bias[v], V::set_s32(kTwo23Bits));
        offset[v] = V::mul(multiplier[v], V::set_f(-8388608.0f));
      }
    }
  }

  // Turns to tile `tile`, or with paired registers to two; the last one may stand beside itself.
  ZEROPOINT_INLINE void turn_to(int tile) {
    for (int i = 0; i < V::kTiles; ++i) {
      const int at = tile + i < s.tiles ? tile + i : tile;
      second = s.y + at * C::kRows * s.y_row;
      if (i == 0) y = second;
      for (int r = 0; r < C::kInputRows; ++r) {
        const int row = s.row + at * C::kRows * C::kStep + r;
        const bool inside = row >= 0 && row < s.height;
        rows[i * C::kInputRows + r] =
            inside ? s.x + static_cast<ptrdiff_t>(row) * s.width * s.channels : s.pad;
      }
    }
    for (auto& of_column : acc) {
      for (auto& of_row : of_column) {
        for (Int& a : of_row) a = V::set_s32(0);
      }
    }
  }

  // Interleaves four runs into this pass's vectors.
  static ZEROPOINT_INLINE void interleave(Int r0, Int r1, Int r2, Int r3, Int (&out)[C::kVectors]) {
    if (kFirst == 0) {
      const Int a = V::lo8(r0, r1), b = V::lo8(r2, r3);
      out[0] = V::lo16(a, b);
      out[1] = V::hi16(a, b);
    }
    if (kFirst + C::kVectors == 4) {
      const Int a = V::hi8(r0, r1), b = V::hi8(r2, r3);
      out[C::kVectors - 2] = V::lo16(a, b);
      out[C::kVectors - 1] = V::hi16(a, b);
    }
  }

  ZEROPOINT_INLINE void load_column(int column) {
    Int run[C::kDwords * 4];
    if (static_cast<unsigned>(column) < static_cast<unsigned>(s.width)) {
      const ptrdiff_t at = column * s.channels;
      for (int r = 0; r < C::kInputRows; ++r) {
        const int beside = V::kTiles == 2 ? C::kInputRows + r : r;
        run[r] = V::load_run(rows[r] + at, rows[beside] + at);
      }
    } else {
      for (int r = 0; r < C::kInputRows; ++r) run[r] = V::load_run(s.pad, s.pad);
    }
    // What fills up the last dword meets zero weights.
    for (int r = C::kInputRows; r < C::kDwords * 4; ++r) run[r] = run[C::kInputRows - 1];
    for (int d = 0; d < C::kDwords; ++d) {
      interleave(run[4 * d], run[4 * d + 1], run[4 * d + 2], run[4 * d + 3], x[d]);
    }
  }

  // Adds kernel column kTap of every output row to the accumulators of slot kSlot.
  template <int kTap, int kSlot>
  ZEROPOINT_INLINE void add_tap() {
    for (int row = 0; row < C::kRows; ++row) {
      for (int v = 0; v < C::kVectors; ++v) {
        Int sum = kTap == 0 ? bias[v] : acc[kSlot][row][v];
        for (int d = 0; d < C::kDwords; ++d) {
          const int set = (row * C::kDwords + d) * C::kSide + kTap;
          sum = V::dot4(sum, x[d][v], weights[set][v]);
        }
        acc[kSlot][row][v] = sum;
      }
    }
  }

  template <int kSlot>
  ZEROPOINT_INLINE void finish(int output, Int* scratch) {
    for (int row = 0; row < C::kRows; ++row) {
      Int rounded[C::kVectors];
      for (int v = 0; v < C::kVectors; ++v) {
        rounded[v] = finishing.scale(acc[kSlot][row][v], multiplier[v], offset[v]);
      }
      const Int narrow = finishing.narrow(rounded[0], rounded[1]);
      Int* parked = scratch + output * C::kRows + row;
      if constexpr (!kLast) {
        *parked = narrow;
      } else {
        const ptrdiff_t to = output * s.y_stride + row * s.y_row;
        Int bytes;
        if constexpr (C::kPasses == 2) {
          bytes = finishing.to_bytes(*parked, narrow);
        } else {
          bytes = finishing.to_bytes(narrow, finishing.narrow(rounded[2], rounded[3]));
        }
        V::store_run(y + to, second + to, bytes, s.count);
      }
    }
  }

  // The taps of column kPhase of a period, from the kernel's last column to its first.
  template <int kPhase, int kTap, bool kFinish>
  ZEROPOINT_INLINE void add_taps(int output, Int* scratch) {
    if constexpr (kTap >= 0) {
      if constexpr (kPhase % C::kStep == kTap % C::kStep) {
        // Output columns start every kStep columns; a finished one makes room for the next.
        constexpr int kSlot = (kPhase - kTap + C::kSide * C::kPeriod) / C::kStep % C::kLive;
        if constexpr (kTap == C::kSide - 1) {
          if constexpr (kFinish) {
            add_tap<kTap, kSlot>();
            finish<kSlot>(output, scratch);
          }
        } else if constexpr (kFinish || kTap <= kPhase) {
          add_tap<kTap, kSlot>();
        }
      }
      add_taps<kPhase, kTap - 1, kFinish>(output, scratch);
    }
  }

  // One period of columns; returns whether the strip is done.
  template <int kPhase, bool kFinish>
  ZEROPOINT_INLINE bool period(int& column, int& output, Int* scratch) {
    if constexpr (kPhase < C::kPeriod) {
      load_column(column++);
      add_taps<kPhase, C::kSide - 1, kFinish>(output, scratch);
      if constexpr (kFinish && kPhase % C::kStep == 0) {
        if (++output == s.outputs) return true;
      }
      return period<kPhase + 1, kFinish>(column, output, scratch);
    }
    return false;
  }

  ZEROPOINT_INLINE void run(Int* scratch) {
    for (int tile = 0; tile < s.tiles; tile += V::kTiles) {
      turn_to(tile);
      int column = s.column, output = 0;
      period<0, false>(column, output, scratch);
      while (!period<0, true>(column, output, scratch)) {
      }
      scratch += s.outputs * C::kRows;
    }
  }
};

template <typename V, typename C, Scaling kScaling>
void run_strip(const Strip& strip, const OutputClamp& clamp) {
  typename V::Int scratch[C::kPasses == 1 ? 1 : kMaxPixels];
  Walk<V, C, 0, kScaling>(strip, clamp).run(scratch);
  if constexpr (C::kPasses == 2) Walk<V, C, 1, kScaling>(strip, clamp).run(scratch);
}

template <typename V, typename C>
void run_strip(const Strip& strip, const OutputClamp& clamp, Scaling scaling) {
  switch (scaling) {
    case Scaling::from_zero:
      return run_strip<V, C, Scaling::from_zero>(strip, clamp);
    case Scaling::whole_range:
      return run_strip<V, C, Scaling::whole_range>(strip, clamp);
    default:
      return run_strip<V, C, Scaling::any>(strip, clamp);
  }
}

template <typename C>
class ColumnsRun {
 public:
  explicit ColumnsRun(const RunArgs& args) : args_(args), grid_(*args.grid) {
    scaling_ = scaling_for(args.packed, args.clamp);
    // Blocks that share cache lines should find them in L1.
    const int input_rows = (2 * C::kRows - 1) * C::kStep + C::kSide;
    const int fitting =
        static_cast<int>(kInputBytes / (ptrdiff_t{input_rows} * C::kStep * args.x.depth));
    const int most = kMaxPixels / (2 * C::kRows);
    int columns = most;
    if (args.x.depth % kWidest != 0) {
      columns = fitting < kMinColumns ? kMinColumns : fitting < most ? fitting : most;
    }
    pieces_ = (grid_.out_width + columns - 1) / columns;
    columns = (grid_.out_width + pieces_ - 1) / pieces_;
    rows_ = kMaxPixels / (columns * C::kRows) * C::kRows;
  }

  void run() const {
    const int begin = static_cast<int>(args_.pixel_begin / grid_.out_width);
    const int end = static_cast<int>(args_.pixel_end / grid_.out_width);
    for (int row = begin; row < end; row += rows_) {
      const int rows = end - row < rows_ ? end - row : rows_;
      const int whole = rows / C::kRows;
      if (whole > 0) run_tiles<C>(row, whole);
      if (rows > whole * C::kRows) run_tiles<Columns<C::kSide, C::kStep, 1>>(rows - 1 + row, 1);
    }
  }

 private:
  // `tiles` times R::kRows output rows from `row` on, all channels.
  template <typename R>
  void run_tiles(int row, int tiles) const {
    Strip strip;
    strip.channels = args_.x.depth;
    strip.height = grid_.height;
    strip.width = grid_.width;
    strip.row = row * C::kStep - grid_.pad_top;
    strip.y_stride = args_.y_stride;
    strip.y_row = args_.y_stride * grid_.out_width;
    strip.tiles = tiles;
    for (int piece = 0; piece < pieces_; ++piece) {
      const int begin = static_cast<int>(int64_t{grid_.out_width} * piece / pieces_);
      const int end = static_cast<int>(int64_t{grid_.out_width} * (piece + 1) / pieces_);
      strip.column = begin * C::kStep - grid_.pad_left;
      strip.outputs = end - begin;
      strip.block = static_cast<const uint8_t*>(args_.packed) + kScalingHeaderBytes;
      for (int c0 = 0; c0 < args_.x.depth;) {
        const int rest = args_.x.depth - c0;
        const int width = block_width(rest);
        strip.x = args_.x.base + c0;
        strip.pad = args_.x.pad_row + c0;
        strip.y = args_.y + row * strip.y_row + begin * strip.y_stride + c0;
        strip.count = rest < width ? rest : width;
        with_registers(width, [&](auto registers) ZEROPOINT_LAMBDA {
          run_strip<decltype(registers), R>(strip, args_.clamp, scaling_);
        });
        strip.block += columns_block_bytes<C>(width);
        c0 += width;
      }
    }
  }

  const RunArgs& args_;
  const Grid& grid_;
  Scaling scaling_ = Scaling::any;
  int pieces_ = 1;  // that the output columns are cut into
  int rows_ = 1;    // output rows at once
};

template <typename C>
void columns_run(const RunArgs& args) {
  ColumnsRun<C>(args).run();
}

template <typename C>
bool columns_applies(const Problem& problem) {
  return problem.side == C::kSide && problem.stride == C::kStep;
}

template <typename C>
constexpr Kernel columns_kernel(const char* name, Isa isa) {
  return {name,           isa, columns_applies<C>, columns_packed_bytes<C>, columns_pack<C>,
          columns_run<C>, true};
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
