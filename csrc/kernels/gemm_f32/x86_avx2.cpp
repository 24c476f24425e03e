// gemm_f32 with AVX2 and FMA: tiles of 6x16 (12 accumulators, 2 B, 1 A register). B comes from
// 16-column panels (gemm_f32_kernels.h), A is read in place. One or two rows take four or two
// panels at a time, so that eight independent chains hide the latency of the FMA. K beyond 1024 is
// cut into equal slices, and the accumulators then wait in C, unclamped.
#include <immintrin.h>

#include <cstdint>

#include "kernels/gemm_f32/gemm_f32_kernels.h"

namespace zeropoint::gemm_f32 {
namespace {

constexpr int kColumns = 16;
constexpr int kMaxRows = 6;
constexpr int64_t kSlice = 1024;

// One pass over rows [m, m + MR) of NP neighbouring panels and one slice of K.
struct Tile {
  const RunArgs* args;
  const float* panel;  // the first panel's bias row
  int column;          // first column
  bool whole;          // all columns of the last panel exist
  __m256i tail[2];     // lane masks of the last panel's columns that exist
  int64_t m;
  int64_t k_begin, k_end, k_count;
};

__m256i tail_mask(int columns) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(columns), lane);
}

template <int MR, int NP>
void run_tile(const Tile& t) {
  const RunArgs& args = *t.args;
  const ptrdiff_t panel_stride = (1 + t.k_count) * kColumns;
  float* c = args.c + t.m * args.c_stride + t.column;
  const __m256i all = _mm256_set1_epi32(-1);
  __m256 acc[MR][2 * NP];
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < 2 * NP; ++v) {
      const __m256i mask = v / 2 == NP - 1 ? t.tail[v % 2] : all;
      acc[i][v] = t.k_begin == 0 ? _mm256_loadu_ps(t.panel + v / 2 * panel_stride + v % 2 * 8)
                                 : _mm256_maskload_ps(c + i * args.c_stride + 8 * v, mask);
    }
  }
  const int depth = args.a.depth;
  const float* b = t.panel + (1 + t.k_begin) * kColumns;
  int tap = t.k_begin == 0 ? 0 : static_cast<int>(t.k_begin / depth);
  int64_t d = t.k_begin == 0 ? 0 : t.k_begin % depth;
  for (int64_t k = t.k_begin; k < t.k_end; ++tap, d = 0) {
    const int64_t run = depth - d < t.k_end - k ? depth - d : t.k_end - k;
    const float* a[MR];
#pragma GCC unroll 6
    for (int i = 0; i < MR; ++i) a[i] = row_run(args.a, t.m + i, tap) + d;
    for (int64_t j = 0; j < run; ++j, b += kColumns) {
      // A few rows are bound by the stream of B, which the hardware prefetcher follows too late.
      if (MR <= 4) {
#pragma GCC unroll 4
        for (int p = 0; p < NP; ++p) {
          _mm_prefetch(reinterpret_cast<const char*>(b + p * panel_stride + 256), _MM_HINT_T0);
        }
      }
      __m256 bv[2 * NP];
#pragma GCC unroll 8
      for (int v = 0; v < 2 * NP; ++v) {
        bv[v] = _mm256_loadu_ps(b + v / 2 * panel_stride + v % 2 * 8);
      }
#pragma GCC unroll 6
      for (int i = 0; i < MR; ++i) {
        const __m256 av = _mm256_broadcast_ss(a[i] + j);
#pragma GCC unroll 8
        for (int v = 0; v < 2 * NP; ++v) acc[i][v] = _mm256_fmadd_ps(av, bv[v], acc[i][v]);
      }
    }
    k += run;
  }
  const bool done = t.k_end == t.k_count;
  const __m256 lo = _mm256_set1_ps(args.lo), hi = _mm256_set1_ps(args.hi);
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < 2 * NP; ++v) {
      __m256 y = acc[i][v];
      // max and min return their second operand where either is NaN: a NaN in y passes through.
      if (done) y = _mm256_min_ps(hi, _mm256_max_ps(lo, y));
      float* p = c + i * args.c_stride + 8 * v;
      if (v / 2 < NP - 1 || t.whole) {  // masked stores are slow on some CPUs
        _mm256_storeu_ps(p, y);
      } else {
        _mm256_maskstore_ps(p, t.tail[v % 2], y);
      }
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
    const int tail = columns - (panels - 1) * kColumns;
    Tile t = {};
    t.args = &args;
    t.panel = panel_at(args, column);
    t.column = column;
    t.whole = tail == kColumns;
    t.tail[0] = tail_mask(tail);
    t.tail[1] = tail_mask(tail - 8);
    t.k_count = static_cast<int64_t>(args.a.taps) * args.a.depth;
    run_panels(t, rows, panels == 4 ? run_tile<1, 4> : panels == 2 ? run_tile<2, 2> : nullptr);
    column += columns;
  }
}

bool applies(const Problem&) { return true; }

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() {
  static const Kernel table[] = {
      {"gemm_f32_6x16_avx2", Isa::avx2, applies, packed_bytes, pack_16, run, 6, 16},
  };
  return {table, 1};
}

}  // namespace zeropoint::gemm_f32
