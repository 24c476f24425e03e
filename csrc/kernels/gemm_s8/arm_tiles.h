// What the Arm kernels of gemm_s8 share: the packed form of B, the walk over tiles, and what
// happens to a tile's sums. Each ISA file brings a Level:
//
//   struct Level {
//     static constexpr int kGroup;      // bytes of K that a column holds side by side
//     static constexpr int kNr;         // columns of a panel
//     static constexpr int kMaxHeight;  // rows of the tallest tile
//     static constexpr int kRowStep;    // tiles exist for its multiples: what is too much is cut
//     off static size_t slice_bytes(size_t k);
//     // Brings rows m .. m + height - 1 of A into the form the tiles want; scratch_bytes() are
//     free. static Slice slice(const Rows<act_t>& a, int64_t m, int height, int8_t* scratch);
//     static const TileSet& tiles(int height);
//     // What a tile must know of a panel's weights; 0 for nothing.
//     static int32_t trait(const int8_t* weights, size_t steps);
//   };
//
// Packed: panels of kNr columns,
//   { int32 bias[kNr]; float multiplier[kNr]; int32 trait[4]; int8 weights[steps][kNr][kGroup] }
// with steps = ceil(taps * depth / kGroup). K runs through all taps without gaps. Padded columns
// and the end of K hold zero weights, so whatever bytes A has there add 0.
//
// For ISA files only: everything is local to the file that includes it.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "kernels/epilogue_neon.h"
#include "kernels/gemm_s8/gemm_s8_kernels.h"
#include "kernels/inlining.h"

namespace zeropoint::gemm_s8 {
namespace {

// Panels used with one slice of A before the next slice: what stays in the second-level cache.
constexpr size_t kBlockBytes = 192 * 1024;
// Of all levels.
constexpr int kTallest = 12;
constexpr int kWidest = 32;

inline size_t total_k(int taps, int depth) {
  return static_cast<size_t>(taps) * static_cast<size_t>(depth);
}

// A slice of A: group g of its rows starts at data + g * stride.
struct Slice {
  const int8_t* data;
  ptrdiff_t stride;
};

// What requantization and the addition of a residual need.
struct Output {
  NeonEpilogue last;  // of what is stored
  // For residuals: the bounds of the requantized values, their zero point taken off.
  float32x4_t inner_lo, inner_hi;
  float32x4_t multiplier_c, multiplier;
  int16x8_t zero_point;
};

struct Tile {
  Slice a;
  const uint8_t* panel;  // the first one, its header
  ptrdiff_t panel_stride;
  ptrdiff_t steps;
  int8_t* c;  // at the tile's first row and column; exactly one of the two is set
  int32_t* c_s32;
  ptrdiff_t c_stride;
  const int8_t* residual;  // as c, or nullptr
  ptrdiff_t residual_stride;
  const Output* out;
};

// Computes `count` tiles side by side, the first of which is given.
using TileFunction = void (*)(const Tile& first, int count);

// The tiles of one height: one panel wide, and as many as there are registers for.
struct TileSet {
  TileFunction narrow, wide;
  int panels;  // of the wide one
};

template <class Level>
struct PanelHeader {
  int32_t bias[Level::kNr];
  float multiplier[Level::kNr];
  int32_t trait[4];
};

template <class Level>
const PanelHeader<Level>& header(const Tile& tile, int panel) {
  return *reinterpret_cast<const PanelHeader<Level>*>(tile.panel + panel * tile.panel_stride);
}

template <class Level>
const int8_t* weights(const Tile& tile, int panel) {
  return reinterpret_cast<const int8_t*>(&header<Level>(tile, panel) + 1);
}

// The residual's bytes that correspond to one chunk of store_s8.
template <int NV, int kRows>
ZEROPOINT_INLINE int8x16_t load_chunk(const int8_t* x, ptrdiff_t stride) {
  if constexpr (NV >= 4) {
    return vld1q_s8(x);
  } else if constexpr (NV == 2) {
    return vcombine_s8(vld1_s8(x), vld1_s8(x + (kRows > 1 ? stride : 0)));
  } else {
    int32x4_t v = vdupq_n_s32(0);
    const auto row = [&](auto i) ZEROPOINT_LAMBDA {
      int32_t four;
      std::memcpy(&four, x + (i < kRows ? i : 0) * stride, 4);
      v = vsetq_lane_s32(four, v, i.value);
    };
    unroll<4>(row);
    return vreinterpretq_s8_s32(v);
  }
}

template <int NV, int kRows>
ZEROPOINT_INLINE void store_chunk(int8_t* c, ptrdiff_t stride, int8x16_t bytes) {
  if constexpr (NV >= 4) {
    vst1q_s8(c, bytes);
  } else if constexpr (NV == 2) {
    vst1_s8(c, vget_low_s8(bytes));
    if constexpr (kRows > 1) vst1_s8(c + stride, vget_high_s8(bytes));
  } else {
    unroll<kRows>([&](auto i) ZEROPOINT_LAMBDA {
      const int32_t four = vgetq_lane_s32(vreinterpretq_s32_s8(bytes), i.value);
      std::memcpy(c + i * stride, &four, 4);
    });
  }
}

// Requantizes and stores the sums of MR rows by NV * 4 columns in chunks of 16 bytes: a part of a
// row, two rows of 8 columns, or four rows of 4.
template <int MR, int NV, bool kAdd>
ZEROPOINT_INLINE void store_s8(const Tile& tile, const int32x4_t (&sums)[MR][NV],
                               const float32x4_t (&multiplier)[NV]) {
  constexpr int kVectors = NV < 4 ? NV : 4;  // of a row in a chunk
  constexpr int kRowsAtOnce = 4 / kVectors;
  constexpr int kChunksInRow = NV / kVectors;
  // Copies: the stores are to bytes, which may alias anything.
  const Output out = *tile.out;
  int8_t* const c = tile.c;
  const ptrdiff_t stride = tile.c_stride;
  const int8_t* const residual = tile.residual;
  const ptrdiff_t residual_stride = tile.residual_stride;

  unroll<(MR + kRowsAtOnce - 1) / kRowsAtOnce * kChunksInRow>([&](auto chunk) ZEROPOINT_LAMBDA {
    constexpr int kRow = chunk.value / kChunksInRow * kRowsAtOnce;
    constexpr int kVector = chunk.value % kChunksInRow * kVectors;
    constexpr int kRows = MR - kRow < kRowsAtOnce ? MR - kRow : kRowsAtOnce;
    float32x4_t v[4];
    unroll<4>([&](auto i) ZEROPOINT_LAMBDA {
      constexpr int kAt = i.value / kVectors < kRows ? kRow + i.value / kVectors : kRow;
      constexpr int kOf = kVector + i.value % kVectors;
      v[i] = neon_scale(sums[kAt][kOf], multiplier[kOf]);
    });
    if constexpr (kAdd) {
      const int8x16_t bytes =
          load_chunk<NV, kRows>(residual + kRow * residual_stride + kVector * 4, residual_stride);
      const float32x4x2_t lo = neon_center(vget_low_s8(bytes), out.zero_point);
      const float32x4x2_t hi = neon_center(vget_high_s8(bytes), out.zero_point);
      const float32x4_t other[4] = {lo.val[0], lo.val[1], hi.val[0], hi.val[1]};
      unroll<4>([&](auto i) ZEROPOINT_LAMBDA {
        const float32x4_t own = neon_round_centered(v[i], out.inner_lo, out.inner_hi);
        v[i] = vaddq_f32(vmulq_f32(own, out.multiplier_c), vmulq_f32(other[i], out.multiplier));
      });
    }
    store_chunk<NV, kRows>(c + kRow * stride + kVector * 4, stride,
                           neon_round_clamp(v[0], v[1], v[2], v[3], out.last));
  });
}

// Stores the sums of a tile, MR rows by NP panels in vectors of 4 columns.
template <class Level, int MR, int NP>
ZEROPOINT_INLINE void store(const Tile& tile, const int32x4_t (&sums)[MR][NP * (Level::kNr / 4)]) {
  constexpr int kInPanel = Level::kNr / 4;
  constexpr int NV = NP * kInPanel;
  if (tile.c_s32 != nullptr) {
    int32_t* row = tile.c_s32;
    const ptrdiff_t stride = tile.c_stride;
    unroll<MR>([&](auto r) ZEROPOINT_LAMBDA {
      unroll<NV>([&](auto j) ZEROPOINT_LAMBDA { vst1q_s32(row + j * 4, sums[r][j]); });
      row += stride;
    });
    return;
  }
  float32x4_t multiplier[NV];
  unroll<NV>([&](auto j) ZEROPOINT_LAMBDA {
    multiplier[j] = vld1q_f32(header<Level>(tile, j / kInPanel).multiplier + j % kInPanel * 4);
  });
  if (tile.residual != nullptr) {
    store_s8<MR, NV, true>(tile, sums, multiplier);
  } else {
    store_s8<MR, NV, false>(tile, sums, multiplier);
  }
}

// To the tile on the right.
template <class Level, int NP>
ZEROPOINT_INLINE void advance(Tile& tile) {
  constexpr int kColumns = NP * Level::kNr;
  tile.panel += NP * tile.panel_stride;
  if (tile.c_s32 != nullptr) {
    tile.c_s32 += kColumns;
  } else {
    tile.c += kColumns;
    if (tile.residual != nullptr) tile.residual += kColumns;
  }
}

// --- Packing -------------------------------------------------------------------------------------

template <class Level>
size_t k_steps(int taps, int depth) {
  return (total_k(taps, depth) + Level::kGroup - 1) / Level::kGroup;
}

template <class Level>
size_t panel_bytes(int taps, int depth) {
  return sizeof(PanelHeader<Level>) + k_steps<Level>(taps, depth) * Level::kNr * Level::kGroup;
}

template <class Level>
size_t packed_bytes(int n, int taps, int depth) {
  return (static_cast<size_t>(n) + Level::kNr - 1) / Level::kNr * panel_bytes<Level>(taps, depth);
}

template <class Level>
void pack(const PackArgs& args, void* packed) {
  constexpr size_t kGroup = Level::kGroup;
  const size_t k_total = total_k(args.taps, args.depth);
  const size_t steps = k_steps<Level>(args.taps, args.depth);
  const size_t bytes = panel_bytes<Level>(args.taps, args.depth);
  uint8_t* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, packed_bytes<Level>(args.n, args.taps, args.depth));
  for (int n0 = 0; n0 < args.n; n0 += Level::kNr, out += bytes) {
    auto& head = *reinterpret_cast<PanelHeader<Level>*>(out);
    int8_t* to = reinterpret_cast<int8_t*>(out + sizeof(head));
    const int columns = args.n - n0 < Level::kNr ? args.n - n0 : Level::kNr;
    const size_t count = static_cast<size_t>(columns);
    std::memcpy(head.bias, args.bias + n0, count * sizeof(int32_t));
    if (args.multiplier != nullptr) {
      std::memcpy(head.multiplier, args.multiplier + n0, count * sizeof(float));
    }
    for (size_t j = 0; j < count; ++j) {
      const int8_t* column = args.weights + (static_cast<size_t>(n0) + j) * k_total;
      for (size_t k = 0; k < k_total; k += kGroup) {
        const size_t rest = k_total - k;
        std::memcpy(to + (k * Level::kNr + j * kGroup), column + k, rest < kGroup ? rest : kGroup);
      }
    }
    for (int32_t& trait : head.trait) trait = Level::trait(to, steps);
  }
}

// Bytes of one row in scratch: gather_rows writes 16 at a time.
inline size_t row_bytes(size_t k) { return (k + 15) / 16 * 16 + 16; }

template <class Level>
size_t scratch_bytes(int, int taps, int depth) {
  const size_t k = total_k(taps, depth);
  return Level::slice_bytes(k) + Level::kMaxHeight * row_bytes(k);
}

// Rows m .. m + height - 1 by way of their table, each with its taps' runs side by side; what lies
// past the end of a row is garbage.
inline Slice gather_rows(const Rows<act_t>& a, int64_t m, int height, int8_t* rows) {
  const size_t stride = row_bytes(total_k(a.taps, a.depth));
  // Copies: the stores are to bytes, which may alias anything.
  const int32_t* offset = a.offsets + m * a.taps;
  const int8_t *const base = a.base, *const pad_row = a.pad_row;
  const ptrdiff_t depth = a.depth, length = a.taps * depth;
  int8_t* row = rows;
  for (int r = 0; r < height; ++r, row += stride) {
    int8_t* to = row;
    do {
      const int8_t* from = *offset < 0 ? pad_row : base + *offset;
      ++offset;
      vst1q_s8(to, vld1q_s8(from));
      for (ptrdiff_t k = 16; k < depth; k += 16) vst1q_s8(to + k, vld1q_s8(from + k));
      to += depth;
    } while (to != row + length);
  }
  return {rows, static_cast<ptrdiff_t>(stride)};
}

constexpr int kRowsInGroup = 4;

// For levels that take rows in groups of four: scratch becomes [height / 4][steps][4 rows][kGroup],
// which is what ST4 makes of 16 bytes of each row.
template <class Level>
struct Interleaved {
  static constexpr int kRows = kRowsInGroup;
  static_assert(Level::kGroup == 4 || Level::kGroup == 8, "");
  static_assert(Level::kMaxHeight % kRows == 0, "");

  static size_t slice_bytes(size_t k) { return Level::kMaxHeight * row_bytes(k); }

  static __attribute__((noinline)) Slice slice(const Rows<act_t>& a, int64_t m, int height,
                                               int8_t* scratch) {
    const size_t k = total_k(a.taps, a.depth);
    const ptrdiff_t stride = static_cast<ptrdiff_t>(kRows * row_bytes(k));
    if (a.offsets == nullptr) {
      const int8_t* first = a.base + m * a.stride;
      const ptrdiff_t pitch = a.stride;
      interleave_rows(scratch, stride, height, 1, a.depth,
                      [=](ptrdiff_t row, ptrdiff_t) { return first + row * pitch; });
    } else if (a.taps > 1 && a.depth % Level::kGroup != 0) {
      // Runs that do not end with a group are joined first.
      const Slice joined = gather_rows(a, m, height, scratch + slice_bytes(k));
      interleave_rows(scratch, stride, height, 1, static_cast<ptrdiff_t>(k),
                      [=](ptrdiff_t row, ptrdiff_t) { return joined.data + row * joined.stride; });
    } else {
      const int32_t* offsets = a.offsets + m * a.taps;
      const int8_t *base = a.base, *pad_row = a.pad_row;
      const ptrdiff_t taps = a.taps;
      interleave_rows(scratch, stride, height, taps, a.depth, [=](ptrdiff_t row, ptrdiff_t tap) {
        const int32_t offset = offsets[row * taps + tap];
        return offset < 0 ? pad_row : base + offset;
      });
    }
    return {scratch, stride};
  }

 private:
  // run(row, tap) is where each run starts.
  template <typename Run>
  static ZEROPOINT_INLINE void interleave_rows(int8_t* group, ptrdiff_t stride, ptrdiff_t height,
                                               ptrdiff_t taps, ptrdiff_t depth, const Run& run) {
    for (ptrdiff_t r0 = 0; r0 < height; r0 += kRows, group += stride) {
      int8_t* to = group;
      for (ptrdiff_t t = 0; t < taps; ++t, to += depth * kRows) {
        const int8_t* from[kRows];
        unroll<kRows>([&](auto r) ZEROPOINT_LAMBDA {
          // The last row stands in for those missing.
          from[r] = run(r0 + r < height ? r0 + r : height - 1, t);
        });
        ptrdiff_t i = 0;
        do {
          interleave(from, i, to + i * kRows);
          i += 16;
        } while (i < depth);
      }
    }
  }

  static ZEROPOINT_INLINE void interleave(const int8_t* const (&from)[kRows], ptrdiff_t at,
                                          int8_t* to) {
    if constexpr (Level::kGroup == 4) {
      int32x4x4_t v;
      unroll<kRows>([&](auto r) ZEROPOINT_LAMBDA {
        v.val[r] = vreinterpretq_s32_s8(vld1q_s8(from[r] + at));
      });
      vst4q_s32(reinterpret_cast<int32_t*>(to), v);
    } else {
      int64x2x4_t v;
      unroll<kRows>([&](auto r) ZEROPOINT_LAMBDA {
        v.val[r] = vreinterpretq_s64_s8(vld1q_s8(from[r] + at));
      });
      vst4q_s64(reinterpret_cast<int64_t*>(to), v);
    }
  }
};

// --- The walk over tiles -------------------------------------------------------------------------

inline Output output(const RunArgs& args) {
  const Residual& residual = args.residual;
  const OutputClamp& inner = args.clamp;
  Output out;
  out.last = neon_epilogue(residual.data != nullptr ? residual.clamp : inner);
  out.inner_lo = vdupq_n_f32(static_cast<float>(inner.qmin - inner.zero_point));
  out.inner_hi = vdupq_n_f32(static_cast<float>(inner.qmax - inner.zero_point));
  out.multiplier_c = vdupq_n_f32(residual.multiplier_c);
  out.multiplier = vdupq_n_f32(residual.multiplier);
  out.zero_point = vdupq_n_s16(static_cast<int16_t>(residual.zero_point));
  return out;
}

// A tile of which only the first rows or columns exist: computed whole, beside C.
inline void run_cut_off(TileFunction function, Tile tile, int height, int columns) {
  const size_t count = static_cast<size_t>(columns);
  int8_t residual[kTallest * kWidest];
  if (tile.residual != nullptr) {
    for (int r = 0; r < kTallest; ++r) {
      const int from = r < height ? r : height - 1;
      std::memcpy(residual + r * kWidest, tile.residual + from * tile.residual_stride, count);
    }
    tile.residual = residual;
    tile.residual_stride = kWidest;
  }
  const ptrdiff_t stride = tile.c_stride;
  tile.c_stride = kWidest;
  if (tile.c_s32 != nullptr) {
    int32_t sums[kTallest * kWidest];
    int32_t* c = tile.c_s32;
    tile.c_s32 = sums;
    function(tile, 1);
    for (int r = 0; r < height; ++r) {
      std::memcpy(c + r * stride, sums + r * kWidest, count * sizeof(int32_t));
    }
  } else {
    int8_t bytes[kTallest * kWidest];
    int8_t* c = tile.c;
    tile.c = bytes;
    function(tile, 1);
    for (int r = 0; r < height; ++r) std::memcpy(c + r * stride, bytes + r * kWidest, count);
  }
}

// All rows of the call by columns n_begin .. n_end.
template <class Level>
void run_block(const RunArgs& args, int n_begin, int n_end) {
  constexpr int kNr = Level::kNr;
  static_assert(kColumnBlock % kNr == 0, "threads split columns at panel borders");
  static_assert(Level::kMaxHeight <= kTallest && Level::kMaxHeight % Level::kRowStep == 0, "");
  const size_t bytes = panel_bytes<Level>(args.a.taps, args.a.depth);
  const Output out = output(args);
  const Residual& residual = args.residual;
  Tile tile;
  tile.panel_stride = static_cast<ptrdiff_t>(bytes);
  tile.steps = static_cast<ptrdiff_t>(k_steps<Level>(args.a.taps, args.a.depth));
  tile.c = nullptr;
  tile.c_s32 = nullptr;
  tile.c_stride = args.c_stride;
  tile.residual = nullptr;
  tile.residual_stride = residual.stride;
  tile.out = &out;
  // Tiles of nearly equal height, so 49 rows are 4 x 10 + 9, not 4 x 12 + 1.
  const int64_t rows = args.m_end - args.m_begin;
  const int64_t units = (rows + Level::kRowStep - 1) / Level::kRowStep;
  const int64_t tiles = (rows + Level::kMaxHeight - 1) / Level::kMaxHeight;
  int64_t m = args.m_begin;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t next = args.m_begin + units * (i + 1) / tiles * Level::kRowStep;
    const int height = static_cast<int>((next < args.m_end ? next : args.m_end) - m);
    const int whole = (height + Level::kRowStep - 1) / Level::kRowStep * Level::kRowStep;
    const TileSet& set = Level::tiles(whole);
    tile.a = Level::slice(args.a, m, height, static_cast<int8_t*>(args.scratch));
    for (int n0 = n_begin; n0 < n_end;) {
      const bool wide = n_end - n0 > (set.panels - 1) * kNr;
      const TileFunction function = wide ? set.wide : set.narrow;
      const int width = wide ? set.panels * kNr : kNr;
      // Whole tiles together, then by itself what is cut off.
      const int count = height == whole ? (n_end - n0) / width : 0;
      const int columns = n_end - n0 < width ? n_end - n0 : width;
      tile.panel = static_cast<const uint8_t*>(args.packed) + static_cast<size_t>(n0 / kNr) * bytes;
      if (args.c_s32 != nullptr) {
        tile.c_s32 = args.c_s32 + m * args.c_stride + n0;
      } else {
        tile.c = args.c + m * args.c_stride + n0;
      }
      if (residual.data != nullptr) tile.residual = residual.data + m * residual.stride + n0;
      if (count > 0) {
        function(tile, count);
        n0 += count * width;
      } else {
        run_cut_off(function, tile, height, columns);
        n0 += width;
      }
    }
    m += height;
  }
}

template <class Level>
void run(const RunArgs& args) {
  if (args.m_begin >= args.m_end) return;
  const size_t bytes = panel_bytes<Level>(args.a.taps, args.a.depth);
  constexpr int kAtOnce = kColumnBlock / Level::kNr;  // panels: whole wide tiles
  const size_t fitting = kBlockBytes / bytes / kAtOnce * kAtOnce;
  // A single tile of A uses every panel once: there is nothing to keep.
  const bool once = args.m_end - args.m_begin <= Level::kMaxHeight;
  const size_t panels = once ? static_cast<size_t>(args.n) : fitting > 0 ? fitting : kAtOnce;
  for (int n0 = args.n_begin; n0 < args.n_end;) {
    const size_t left = static_cast<size_t>(args.n_end - n0 + Level::kNr - 1) / Level::kNr;
    const int end = n0 + static_cast<int>(left < panels ? left : panels) * Level::kNr;
    run_block<Level>(args, n0, end < args.n_end ? end : args.n_end);
    n0 = end;
  }
}

template <class Level>
constexpr Kernel make_kernel(const char* name, Isa isa) {
  return {name,        isa,
          nullptr,     packed_bytes<Level>,
          pack<Level>, scratch_bytes<Level>,
          run<Level>,  Level::kMaxHeight,
          Level::kNr};
}

}  // namespace
}  // namespace zeropoint::gemm_s8
