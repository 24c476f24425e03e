// gemm_s8 with AVX-512 VNNI: tiles of 3x64 in turns.
//
// Requantization needs units that dot products leave idle, but a tile of 6x64 leaves it no dot
// products to run beside: its own are over, and those of the next tile are more instructions away
// than the processor looks ahead. So two sets of sums take turns: while one tile's dot products
// run, the rows of the one before are requantized and stored in between.
#pragma once

#include "kernels/gemm_s8/avx512_tiles.h"

namespace zeropoint::gemm_s8 {
namespace {

constexpr int kPairRows = 3;  // rows of a tile; a pair has twice as many

// The sums of a tile, row by row in the form that store_s8 takes.
using PairSums = __m512i[kPairRows][1][4];

// Where a tile is stored, once its sums are complete.
struct Finished {
  act_t* c;
  ptrdiff_t c_stride;
  const act_t* residual;
  ptrdiff_t residual_stride;
  const float* multiplier;
};

template <bool kAdd>
ZEROPOINT_INLINE void finish_row(const __m512i (&sums)[1][4], const Finished& finished, int row,
                                 const RowConstants& constants) {
  RowTarget to = {};
  to.whole = true;
  to.c = finished.c + row * finished.c_stride;
  if constexpr (kAdd) to.residual = finished.residual + row * finished.residual_stride;
  to.constants = &constants;
  store_s8<1, 4, kAdd, true>(to, sums, finished.multiplier);
}

// sums += rows x panel from byte k to byte `end` of a run. w moves on.
ZEROPOINT_INLINE void accumulate(PairSums& sums, const act_t* const (&a)[kPairRows], ptrdiff_t k,
                                 ptrdiff_t end, const uint8_t*& w, ptrdiff_t ahead) {
  for (; k < end; k += 4) {
    _mm_prefetch(reinterpret_cast<const char*>(w + ahead), _MM_HINT_T1);
    __m512i x[kPairRows];
    unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA { x[r] = _mm512_set1_epi32(load_4(a[r] + k)); });
    unroll<4>([&](auto j) ZEROPOINT_LAMBDA {
      const __m512i b = _mm512_loadu_si512(w + j * 64);
      unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA { dot(sums[r][0][j], x[r], b); });
    });
    w += kPanel * 4;
    __asm__("" : "+r"(w));  // as in compute_tile
  }
}

// The sums of one tile, and between its dot products the rows of the other one.
template <bool kAdd>
ZEROPOINT_INLINE void compute_and_finish(PairSums& sums, const act_t* const* runs, ptrdiff_t taps,
                                         ptrdiff_t depth, const uint8_t* panel, ptrdiff_t ahead,
                                         const PairSums& other, const Finished& finished,
                                         const RowConstants& constants) {
  const int32_t* bias = reinterpret_cast<const int32_t*>(panel);
  const uint8_t* w = panel + kPanel * (sizeof(int32_t) + sizeof(float));
  unroll<4>([&](auto j) ZEROPOINT_LAMBDA {
    const __m512i start = _mm512_loadu_si512(bias + j * kLanes);
    unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA { sums[r][0][j] = start; });
  });
  const act_t* a[kPairRows];
  unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA { a[r] = runs[r * taps]; });
  // The first tap in parts, a row of the other tile behind each.
  const ptrdiff_t part = depth / (4 * kPairRows) * 4;
  unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA {
    accumulate(sums, a, r * part, r + 1 < kPairRows ? (r + 1) * part : depth, w, ahead);
    finish_row<kAdd>(other[r], finished, r, constants);
  });
  for (ptrdiff_t t = 1; t < taps; ++t) {
    unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA { a[r] = runs[r * taps + t]; });
    accumulate(sums, a, 0, depth, w, ahead);
  }
  // As in compute_tile.
  unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA {
    unroll<4>([&](auto j) ZEROPOINT_LAMBDA { keep_in_register(sums[r][0][j]); });
  });
}

// Rows m_begin ... m_begin + 6 * pairs - 1 by whole panels, whose columns start at n_begin. A pair
// of tiles shares the panel, which the second finds in the first-level cache.
template <bool kAdd>
void run_pairs(const RunArgs& args, int64_t pairs, const uint8_t* first_panel, int panels,
               int n_begin, ptrdiff_t next_block) {
  const RowConstants shared = row_constants(args.clamp, args.residual);
  const act_t** runs = static_cast<const act_t**>(args.scratch);
  const ptrdiff_t taps = args.a.taps, depth = args.a.depth;
  const auto panel_stride =
      static_cast<ptrdiff_t>(panel_bytes(kPanel, k_steps(args.a.taps, args.a.depth)));
  // There is no tile before the first: its rows are stored nowhere.
  alignas(64) act_t nowhere[kPanel];
  std::memset(nowhere, 0, sizeof(nowhere));
  const auto* any_multiplier = reinterpret_cast<const float*>(first_panel) + kPanel;
  Finished second = {nowhere, 0, nowhere, 0, any_multiplier};
  PairSums x, y;
  unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA {
    unroll<4>([&](auto j) ZEROPOINT_LAMBDA { y[r][0][j] = _mm512_setzero_si512(); });
  });
  int64_t m = args.m_begin;
  for (int64_t i = 0; i < pairs; ++i, m += 2 * kPairRows) {
    find_runs(args.a, m, 2 * kPairRows, runs);
    const ptrdiff_t next = next_block != 0 ? ahead(i, pairs, next_block) : 0;
    const uint8_t* panel = first_panel;
    act_t* c = args.c + m * args.c_stride + n_begin;
    const act_t* residual =
        kAdd ? args.residual.data + m * args.residual.stride + n_begin : nullptr;
    for (int p = 0; p < panels; ++p) {
      const auto* multiplier = reinterpret_cast<const float*>(panel) + kPanel;
      compute_and_finish<kAdd>(x, runs, taps, depth, panel, next, y, second, shared);
      const Finished first = {c, args.c_stride, residual, args.residual.stride, multiplier};
      second = {c + kPairRows * args.c_stride, args.c_stride,
                kAdd ? residual + kPairRows * args.residual.stride : nullptr, args.residual.stride,
                multiplier};
      compute_and_finish<kAdd>(y, runs + kPairRows * taps, taps, depth, panel, next, x, first,
                               shared);
      panel += panel_stride;
      c += kPanel;
      if constexpr (kAdd) residual += kPanel;
    }
  }
  unroll<kPairRows>([&](auto r) ZEROPOINT_LAMBDA { finish_row<kAdd>(y[r], second, r, shared); });
}

}  // namespace
}  // namespace zeropoint::gemm_s8
