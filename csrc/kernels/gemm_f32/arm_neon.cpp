// gemm_f32 for 64-bit Arm: tiles of 6x16 with FMLA by element (24 accumulators, 4 B registers, and
// one lane an element of A). B comes from 16-column panels (gemm_f32_kernels.h), A is read in
// place, one scalar load a row: 8 loads for 24 multiply-adds. One or two rows take four or two
// panels at a time, so that 16 independent chains hide the latency. K is cut into equal slices of
// at most 256 (16 KiB of B, half of a small first-level cache), and the accumulators then wait in
// C, unclamped.
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "kernels/gemm_f32/gemm_f32_kernels.h"
#include "kernels/inlining.h"

namespace zeropoint::gemm_f32 {
namespace {

constexpr int kColumns = 16;
constexpr int kMaxRows = 6;
constexpr int64_t kSlice = 256;

// One pass over rows [m, m + MR) of NP neighbouring panels and one slice of K.
struct Tile {
  const RunArgs* args;
  const float* panel;  // the first panel's bias row
  int column;          // first column
  int tail;            // columns of the last panel that exist
  int64_t m;
  int64_t k_begin, k_end, k_count;
};

// As the contract writes it: a NaN passes through, and -0 is not below 0. (FMAX and FMIN differ.)
inline float32x4_t clamp(float32x4_t y, float32x4_t lo, float32x4_t hi) {
  y = vbslq_f32(vcltq_f32(y, lo), lo, y);
  return vbslq_f32(vcgtq_f32(y, hi), hi, y);
}

inline void load_panel(const float* from, int columns, float32x4_t* to) {
  float row[kColumns] = {};
  if (columns < kColumns) {
    std::memcpy(row, from, static_cast<size_t>(columns) * sizeof(float));
    from = row;
  }
  ZEROPOINT_UNROLL
  for (int v = 0; v < 4; ++v) to[v] = vld1q_f32(from + 4 * v);
}

inline void store_panel(float* to, int columns, const float32x4_t* from) {
  if (columns == kColumns) {
    ZEROPOINT_UNROLL
    for (int v = 0; v < 4; ++v) vst1q_f32(to + 4 * v, from[v]);
    return;
  }
  float row[kColumns];
  ZEROPOINT_UNROLL
  for (int v = 0; v < 4; ++v) vst1q_f32(row + 4 * v, from[v]);
  std::memcpy(to, row, static_cast<size_t>(columns) * sizeof(float));
}

template <int MR, int NP>
void run_tile(const Tile& t) {
  const RunArgs& args = *t.args;
  const ptrdiff_t panel_stride = (1 + t.k_count) * kColumns;
  float* c = args.c + t.m * args.c_stride + t.column;
  float32x4_t acc[MR][4 * NP];
  ZEROPOINT_UNROLL
  for (int i = 0; i < MR; ++i) {
    ZEROPOINT_UNROLL
    for (int p = 0; p < NP; ++p) {
      if (t.k_begin == 0) {
        load_panel(t.panel + p * panel_stride, kColumns, acc[i] + 4 * p);
      } else {
        load_panel(c + i * args.c_stride + p * kColumns, p == NP - 1 ? t.tail : kColumns,
                   acc[i] + 4 * p);
      }
    }
  }
  const int depth = args.a.depth;
  const float* b = t.panel + (1 + t.k_begin) * kColumns;
  int tap = t.k_begin == 0 ? 0 : static_cast<int>(t.k_begin / depth);
  int64_t d = t.k_begin == 0 ? 0 : t.k_begin % depth;
  for (int64_t k = t.k_begin; k < t.k_end; ++tap, d = 0) {
    const int64_t run = depth - d < t.k_end - k ? depth - d : t.k_end - k;
    const float* a[MR];
    ZEROPOINT_UNROLL
    for (int i = 0; i < MR; ++i) a[i] = row_run(args.a, t.m + i, tap) + d;
    for (int64_t j = 0; j < run; ++j, b += kColumns) {
      ZEROPOINT_UNROLL
      for (int p = 0; p < NP; ++p) {
        // Loads stay on their side of each barrier: all of B and A at once would not fit beside
        // the sums.
        if (NP == 4 && p > 0) __asm__ volatile("" : : : "memory");
        float32x4_t bv[4];
        ZEROPOINT_UNROLL
        for (int v = 0; v < 4; ++v) bv[v] = vld1q_f32(b + p * panel_stride + 4 * v);
        ZEROPOINT_UNROLL
        for (int i = 0; i < MR; ++i) {
          if (MR == kMaxRows && i == MR / 2) __asm__ volatile("" : : : "memory");
          ZEROPOINT_UNROLL
          for (int v = 0; v < 4; ++v) {
            acc[i][4 * p + v] = vfmaq_n_f32(acc[i][4 * p + v], bv[v], a[i][j]);
          }
        }
      }
    }
    k += run;
  }
  const bool done = t.k_end == t.k_count;
  const float32x4_t lo = vdupq_n_f32(args.lo), hi = vdupq_n_f32(args.hi);
  ZEROPOINT_UNROLL
  for (int i = 0; i < MR; ++i) {
    if (done) {
      ZEROPOINT_UNROLL
      for (int v = 0; v < 4 * NP; ++v) acc[i][v] = clamp(acc[i][v], lo, hi);
    }
    ZEROPOINT_UNROLL
    for (int p = 0; p < NP; ++p) {
      store_panel(c + i * args.c_stride + p * kColumns, p == NP - 1 ? t.tail : kColumns,
                  acc[i] + 4 * p);
    }
  }
}

using TileFunction = void (*)(const Tile&);
constexpr TileFunction kOnePanel[kMaxRows + 1] = {nullptr,        run_tile<1, 1>, run_tile<2, 1>,
                                                  run_tile<3, 1>, run_tile<4, 1>, run_tile<5, 1>,
                                                  run_tile<6, 1>};

void run_panels(Tile& t, int64_t rows, TileFunction whole) {
  const int64_t m_begin = t.args->m_begin;
  // Near-equal tiles: 13 rows are 5 + 4 + 4, not 6 + 6 + 1.
  const int64_t tiles = (rows + kMaxRows - 1) / kMaxRows;
  const int64_t slices = tiles == 1 || t.k_count == 0 ? 1 : (t.k_count + kSlice - 1) / kSlice;
  for (int64_t s = 0; s < slices; ++s) {
    t.k_begin = t.k_count * s / slices;
    t.k_end = t.k_count * (s + 1) / slices;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = rows * i / tiles, end = rows * (i + 1) / tiles;
      t.m = m_begin + begin;
      (whole != nullptr ? whole : kOnePanel[end - begin])(t);
    }
  }
}

void run(const RunArgs& args) {
  const int64_t rows = args.m_end - args.m_begin;
  if (rows <= 0) return;
  const int wide = rows == 1 ? 4 : rows == 2 ? 2 : 1;  // panels at a time
  for (int column = args.n_begin; column < args.n_end;) {
    const int left = args.n_end - column;
    const int panels = left > (wide - 1) * kColumns ? wide : 1;
    const int columns = left < panels * kColumns ? left : panels * kColumns;
    Tile t = {};
    t.args = &args;
    t.panel = panel_at(args, column);
    t.column = column;
    t.tail = columns - (panels - 1) * kColumns;
    t.k_count = static_cast<int64_t>(args.a.taps) * args.a.depth;
    run_panels(t, rows, panels == 4 ? run_tile<1, 4> : panels == 2 ? run_tile<2, 2> : nullptr);
    column += columns;
  }
}

bool applies(const Problem&) { return true; }

}  // namespace

KernelSpan<Kernel> arm_neon_kernels() {
  static const Kernel table[] = {
      {"gemm_f32_6x16_neon", Isa::neon, applies, packed_bytes, pack_16, run, kMaxRows, kColumns},
  };
  return {table, 1};
}

}  // namespace zeropoint::gemm_f32
