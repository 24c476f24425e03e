// gemm_f32 with AVX-512 FMA: tiles of 6x64 (24 accumulators, 4 B, 1 A register), and of up to 8
// rows where the last panel is narrower. B comes from 64-column panels (gemm_f32_kernels.h), A is
// read in place, one broadcast a row and k. K beyond 1024 is cut into equal slices, so that a slice
// of a panel stays in L2 while all rows pass over it; the accumulators then wait in C, unclamped.
#include <immintrin.h>

#include <cstdint>

#include "kernels/gemm_f32/gemm_f32_kernels.h"

namespace zeropoint::gemm_f32 {
namespace {

constexpr int kColumns = 64;
constexpr int kMaxRows = 8;
constexpr int64_t kSlice = 1024;

// One pass over rows [m, m + MR) of one panel and one slice of K.
struct Tile {
  const RunArgs* args;
  const float* panel;  // its bias row
  int width;           // of the panel's rows
  int column;          // first column
  __mmask16 last;      // columns of the last vector that exist
  int64_t m;
  int64_t k_begin, k_end, k_count;
};

// max and min return their second operand where either is NaN, so a NaN in y passes through. (The
// zero-masked forms with a full mask are the plain instructions; gcc 12 warns about the others.)
__m512 clamp(__m512 y, __m512 lo, __m512 hi) {
  constexpr __mmask16 all = 0xffff;
  return _mm512_maskz_min_ps(all, hi, _mm512_maskz_max_ps(all, lo, y));
}

template <int MR, int NV>
void run_tile(const Tile& t) {
  const RunArgs& args = *t.args;
  const int width = t.width;
  float* c = args.c + t.m * args.c_stride + t.column;
  __m512 acc[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      const __mmask16 mask = v == NV - 1 ? t.last : static_cast<__mmask16>(0xffff);
      acc[i][v] = t.k_begin == 0 ? _mm512_loadu_ps(t.panel + 16 * v)
                                 : _mm512_maskz_loadu_ps(mask, c + i * args.c_stride + 16 * v);
    }
  }
  const int depth = args.a.depth;
  const float* b = t.panel + (1 + t.k_begin) * width;
  int tap = t.k_begin == 0 ? 0 : static_cast<int>(t.k_begin / depth);
  int64_t d = t.k_begin == 0 ? 0 : t.k_begin % depth;
  for (int64_t k = t.k_begin; k < t.k_end; ++tap, d = 0) {
    const int64_t run = depth - d < t.k_end - k ? depth - d : t.k_end - k;
    const float* a[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) a[i] = row_run(args.a, t.m + i, tap) + d;
    for (int64_t j = 0; j < run; ++j, b += width) {
      // A few rows are bound by the stream of B, which the hardware prefetcher follows too late.
      if (MR <= 4) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) {
          _mm_prefetch(reinterpret_cast<const char*>(b + 512 + 16 * v), _MM_HINT_T0);
        }
      }
      __m512 bv[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) bv[v] = _mm512_loadu_ps(b + 16 * v);
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i) {
        const __m512 av = _mm512_set1_ps(a[i][j]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) acc[i][v] = _mm512_fmadd_ps(av, bv[v], acc[i][v]);
      }
    }
    k += run;
  }
  const bool done = t.k_end == t.k_count;
  const __m512 lo = _mm512_set1_ps(args.lo), hi = _mm512_set1_ps(args.hi);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      __m512 y = acc[i][v];
      if (done) y = clamp(y, lo, hi);
      const __mmask16 mask = v == NV - 1 ? t.last : static_cast<__mmask16>(0xffff);
      _mm512_mask_storeu_ps(c + i * args.c_stride + 16 * v, mask, y);
    }
  }
}

using TileFunction = void (*)(const Tile&);
constexpr int kRows[5] = {0, 8, 8, 8, 6};  // the tallest tile of 1..4 vectors
constexpr TileFunction kTiles[5][kMaxRows + 1] = {
    {},
    {nullptr, run_tile<1, 1>, run_tile<2, 1>, run_tile<3, 1>, run_tile<4, 1>, run_tile<5, 1>,
     run_tile<6, 1>, run_tile<7, 1>, run_tile<8, 1>},
    {nullptr, run_tile<1, 2>, run_tile<2, 2>, run_tile<3, 2>, run_tile<4, 2>, run_tile<5, 2>,
     run_tile<6, 2>, run_tile<7, 2>, run_tile<8, 2>},
    {nullptr, run_tile<1, 3>, run_tile<2, 3>, run_tile<3, 3>, run_tile<4, 3>, run_tile<5, 3>,
     run_tile<6, 3>, run_tile<7, 3>, run_tile<8, 3>},
    {nullptr, run_tile<1, 4>, run_tile<2, 4>, run_tile<3, 4>, run_tile<4, 4>, run_tile<5, 4>,
     run_tile<6, 4>},
};

void run(const RunArgs& args) {
  const int64_t rows = args.m_end - args.m_begin;
  const int64_t k_count = static_cast<int64_t>(args.a.taps) * args.a.depth;
  if (rows <= 0) return;
  for (int column = args.n_begin; column < args.n_end; column += kColumns) {
    const int columns = args.n_end - column < kColumns ? args.n_end - column : kColumns;
    const int vectors = (columns + 15) / 16;
    const int tail = columns - 16 * (vectors - 1);
    Tile t = {};
    t.args = &args;
    t.panel = panel_at(args, column);
    t.width = panel_width(args.n, kColumns, column);
    t.column = column;
    t.last = static_cast<__mmask16>((1u << tail) - 1u);
    t.k_count = k_count;
    // Near-equal tiles: 13 rows are 5 + 4 + 4, not 6 + 6 + 1.
    const int64_t tiles = (rows + kRows[vectors] - 1) / kRows[vectors];
    const int64_t slices = tiles == 1 || k_count == 0 ? 1 : (k_count + kSlice - 1) / kSlice;
    for (int64_t s = 0; s < slices; ++s) {
      t.k_begin = k_count * s / slices;
      t.k_end = k_count * (s + 1) / slices;
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t begin = rows * i / tiles, end = rows * (i + 1) / tiles;
        t.m = args.m_begin + begin;
        kTiles[vectors][end - begin](t);
      }
    }
  }
}

bool applies(const Problem&) { return true; }

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() {
  static const Kernel table[] = {
      {"gemm_f32_6x64_avx512vnni", Isa::avx512vnni, applies, packed_bytes, pack_64, run, 6, 64},
  };
  return {table, 1};
}

}  // namespace zeropoint::gemm_f32
