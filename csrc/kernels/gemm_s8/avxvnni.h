// gemm_s8 with 256-bit vpdpbusd (u8 x s8, four products summed into s32 without saturation): one
// source for both encodings, included by one file each.
//
// Tile: up to 6x16, 12 accumulators, 2 registers of B, 1 of A. A step of K takes 4 bytes of each
// row, broadcast from the row itself (A is never copied: a tile gets pointers to the runs of its
// rows). Tiles of one and two rows take four and two steps at a time into sums of their own, so
// that 8 chains hide the latency.
//
// Packed: panels of 16 columns,
//   { int32 bias[16]; float multiplier[16]; int8 weights[taps * ceil(depth / 4)][16][4] }
// Padded columns and the padding of depth hold zero weights, so whatever bytes A has there add 0.
//
// Bound: the caller proved sum|w| * 255 + |bias| < 2^31, so no partial sum wraps.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/dot_avxvnni.h"
#include "kernels/epilogue_avx2.h"
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/inlining.h"

namespace zeropoint::gemm_s8 {
namespace {

constexpr int kMr = 6;
constexpr int kNr = 16;
constexpr size_t kHeaderBytes = kNr * (sizeof(int32_t) + sizeof(float));
constexpr size_t kStepBytes = kNr * 4;  // of B in a step of K
// Panels used with one tile of A before the next tile: what stays in the second-level cache.
constexpr size_t kBlockBytes = 512 * 1024;
// How far ahead of its use a matrix-vector product asks for the weights.
constexpr size_t kPrefetchBytes = 2048;

size_t k_steps(int taps, int depth) {
  return static_cast<size_t>(taps) * ((static_cast<size_t>(depth) + 3) / 4);
}

size_t panel_bytes(int taps, int depth) { return kHeaderBytes + k_steps(taps, depth) * kStepBytes; }

size_t packed_bytes(int n, int taps, int depth) {
  return (static_cast<size_t>(n) + kNr - 1) / kNr * panel_bytes(taps, depth);
}

// The pointers to the runs of a tile's rows.
size_t scratch_bytes(int, int taps, int) {
  return static_cast<size_t>(kMr) * static_cast<size_t>(taps) * sizeof(const act_t*);
}

void pack(const PackArgs& args, void* packed) {
  const size_t depth = static_cast<size_t>(args.depth);
  uint8_t* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, packed_bytes(args.n, args.taps, args.depth));
  for (int n0 = 0; n0 < args.n; n0 += kNr, out += panel_bytes(args.taps, args.depth)) {
    const size_t columns = static_cast<size_t>(args.n - n0 < kNr ? args.n - n0 : kNr);
    std::memcpy(out, args.bias + n0, columns * sizeof(int32_t));
    if (args.multiplier != nullptr) {
      std::memcpy(out + kNr * sizeof(int32_t), args.multiplier + n0, columns * sizeof(float));
    }
    for (size_t j = 0; j < columns; ++j) {
      const int8_t* column =
          args.weights + (static_cast<size_t>(n0) + j) * static_cast<size_t>(args.taps) * depth;
      uint8_t* to = out + kHeaderBytes + j * 4;
      for (int t = 0; t < args.taps; ++t, column += depth) {
        for (size_t k = 0; k + 4 <= depth; k += 4, to += kStepBytes) {
          std::memcpy(to, column + k, 4);
        }
        if (depth % 4 != 0) {
          std::memcpy(to, column + depth / 4 * 4, depth % 4);
          to += kStepBytes;
        }
      }
    }
  }
}

struct Tile {
  const act_t* const* a;  // [height][taps]: where each run starts
  int taps;
  int depth;
  const uint8_t* panel;  // its header
  int columns;           // to store; the rest is padding
  act_t* c;              // at the tile's first row and column; exactly one of the two is set
  int32_t* c_s32;
  ptrdiff_t c_stride;
  const act_t* residual;  // as c, or nullptr
  const RunArgs* args;
};

inline int32_t load_4(const act_t* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline __m128i load_row(const act_t* x, int columns) {
  if (columns == kNr) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  alignas(16) act_t bytes[kNr] = {};
  avx2_copy_below_32(bytes, x, columns);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

inline void store_row(act_t* y, __m128i v, int columns) {
  if (columns == kNr) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
  } else {
    alignas(16) act_t bytes[kNr];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), v);
    avx2_copy_below_32(y, bytes, columns);
  }
}

template <int MR>
ZEROPOINT_INLINE void store_s32(const Tile& tile, const __m256i (&acc)[MR][2]) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i first = _mm256_cmpgt_epi32(_mm256_set1_epi32(tile.columns), lane);
  const __m256i second = _mm256_cmpgt_epi32(_mm256_set1_epi32(tile.columns - 8), lane);
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) {
    int32_t* c = tile.c_s32 + r * tile.c_stride;
    _mm256_maskstore_epi32(c, first, acc[r][0]);
    if (tile.columns > 8) _mm256_maskstore_epi32(c + 8, second, acc[r][1]);
  }
}

// The values of one row that the last rounding and clamp turn into bytes: the scaled sums, or where
// there is a residual, these requantized and added to it.
template <bool kAdd>
ZEROPOINT_INLINE void scale_row(const __m256i (&acc)[2], const float* multiplier, const Tile& tile,
                                int row, __m256* values) {
  const OutputClamp& clamp = tile.args->clamp;
  const Residual& residual = tile.args->residual;
  const __m128i other =
      kAdd ? load_row(tile.residual + row * residual.stride, tile.columns) : _mm_setzero_si128();
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[j]), _mm256_loadu_ps(multiplier + j * 8));
    if (kAdd) {
      const __m256 lo = _mm256_set1_ps(static_cast<float>(clamp.qmin - clamp.zero_point));
      const __m256 hi = _mm256_set1_ps(static_cast<float>(clamp.qmax - clamp.zero_point));
      v = _mm256_round_ps(_mm256_max_ps(_mm256_min_ps(v, hi), lo),
                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      const __m256i wide = _mm256_cvtepu8_epi32(j == 0 ? other : _mm_srli_si128(other, 8));
      const __m256 w =
          _mm256_cvtepi32_ps(_mm256_sub_epi32(wide, _mm256_set1_epi32(residual.zero_point)));
      v = _mm256_add_ps(_mm256_mul_ps(v, _mm256_set1_ps(residual.multiplier_c)),
                        _mm256_mul_ps(w, _mm256_set1_ps(residual.multiplier)));
    }
    values[j] = v;
  }
}

template <int MR, bool kAdd>
ZEROPOINT_INLINE void store_s8(const Tile& tile, const __m256i (&acc)[MR][2],
                               const float* multiplier) {
  const Avx2Epilogue epilogue = avx2_epilogue(kAdd ? tile.args->residual.clamp : tile.args->clamp);
  // Two rows share a vector, whose dwords the packs leave interleaved.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; r += 2) {
    __m256 first[2], second[2];
    scale_row<kAdd>(acc[r], multiplier, tile, r, first);
    if (r + 1 < MR) {
      scale_row<kAdd>(acc[r + 1 < MR ? r + 1 : r], multiplier, tile, r + 1, second);
    } else {
      second[0] = first[0];
      second[1] = first[1];
    }
    const __m256i bytes = _mm256_permutevar8x32_epi32(
        avx2_round_clamp(first[0], first[1], second[0], second[1], epilogue), order);
    store_row(tile.c + r * tile.c_stride, _mm256_castsi256_si128(bytes), tile.columns);
    if (r + 1 < MR) {
      store_row(tile.c + (r + 1) * tile.c_stride, _mm256_extracti128_si256(bytes, 1), tile.columns);
    }
  }
}

template <int MR>
void compute_tile(const Tile& tile) {
  constexpr int kChains = MR == 1 ? 4 : MR == 2 ? 2 : 1;
  const int32_t* bias = reinterpret_cast<const int32_t*>(tile.panel);
  const float* multiplier = reinterpret_cast<const float*>(bias + kNr);
  const uint8_t* w = tile.panel + kHeaderBytes;

  __m256i acc[MR][2], more[kChains][MR][2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bias + j * 8));
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      acc[r][j] = start;
      ZEROPOINT_UNROLL
      for (int i = 1; i < kChains; ++i) more[i][r][j] = _mm256_setzero_si256();
    }
  }

  const ptrdiff_t taps = tile.taps;
  const ptrdiff_t depth = tile.depth;
  const auto step = [&](const act_t* const* a, ptrdiff_t k, __m256i(*sums)[2]) ZEROPOINT_LAMBDA {
    __m256i b[2];
    ZEROPOINT_UNROLL
    for (int j = 0; j < 2; ++j) {
      b[j] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + j * 32));
    }
    if (MR <= 4) _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes), _MM_HINT_T0);
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i x = _mm256_set1_epi32(load_4(a[r] + k));
      dot4(sums[r][0], x, b[0]);
      dot4(sums[r][1], x, b[1]);
    }
    w += kStepBytes;
  };
  for (ptrdiff_t t = 0; t < taps; ++t) {
    const act_t* a[MR];
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) a[r] = tile.a[r * taps + t];
    ptrdiff_t k = 0;
    if (kChains > 1) {
      for (; k + 4 * (kChains - 1) < depth; k += 4 * kChains) {
        step(a, k, acc);
        ZEROPOINT_UNROLL
        for (int i = 1; i < kChains; ++i) step(a, k + 4 * i, more[i]);
      }
    }
    for (; k < depth; k += 4) step(a, k, acc);
  }
  ZEROPOINT_UNROLL
  for (int i = 1; i < kChains; ++i) {
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      acc[r][0] = _mm256_add_epi32(acc[r][0], more[i][r][0]);
      acc[r][1] = _mm256_add_epi32(acc[r][1], more[i][r][1]);
    }
  }

  if (tile.c_s32 != nullptr) {
    store_s32<MR>(tile, acc);
  } else if (tile.residual != nullptr) {
    store_s8<MR, true>(tile, acc, multiplier);
  } else {
    store_s8<MR, false>(tile, acc, multiplier);
  }
}

using TileFunction = void (*)(const Tile&);
constexpr TileFunction kTiles[] = {compute_tile<1>, compute_tile<2>, compute_tile<3>,
                                   compute_tile<4>, compute_tile<5>, compute_tile<6>};

// All rows of the call by columns n_begin .. n_end.
void run_block(const RunArgs& args, int n_begin, int n_end) {
  const size_t bytes = panel_bytes(args.a.taps, args.a.depth);
  const int64_t rows = args.m_end - args.m_begin;
  const int64_t tiles = (rows + kMr - 1) / kMr;  // of nearly equal height
  const act_t** runs = static_cast<const act_t**>(args.scratch);
  const Residual& residual = args.residual;
  Tile tile = {};
  tile.a = runs;
  tile.taps = args.a.taps;
  tile.depth = args.a.depth;
  tile.c_stride = args.c_stride;
  tile.args = &args;
  int64_t m = args.m_begin;
  for (int64_t i = 0; i < tiles; ++i) {
    const int height = static_cast<int>(args.m_begin + rows * (i + 1) / tiles - m);
    for (int r = 0; r < height; ++r) {
      for (int t = 0; t < args.a.taps; ++t) runs[r * args.a.taps + t] = row_run(args.a, m + r, t);
    }
    tile.panel =
        static_cast<const uint8_t*>(args.packed) + static_cast<size_t>(n_begin / kNr) * bytes;
    for (int n0 = n_begin; n0 < n_end; n0 += kNr, tile.panel += bytes) {
      const ptrdiff_t at = m * args.c_stride + n0;
      tile.columns = n_end - n0 < kNr ? n_end - n0 : kNr;
      if (args.c_s32 != nullptr) {
        tile.c_s32 = args.c_s32 + at;
      } else {
        tile.c = args.c + at;
      }
      if (residual.data != nullptr) tile.residual = residual.data + m * residual.stride + n0;
      kTiles[height - 1](tile);
    }
    m += height;
  }
}

void run(const RunArgs& args) {
  if (args.m_begin >= args.m_end) return;
  const size_t bytes = panel_bytes(args.a.taps, args.a.depth);
  const size_t panels = bytes >= kBlockBytes ? 1 : kBlockBytes / bytes;
  for (int n0 = args.n_begin; n0 < args.n_end;) {
    const size_t left = static_cast<size_t>(args.n_end - n0 + kNr - 1) / kNr;
    const int end = n0 + static_cast<int>(left < panels ? left : panels) * kNr;
    run_block(args, n0, end < args.n_end ? end : args.n_end);
    n0 = end;
  }
}

constexpr Kernel make_kernel(const char* name) {
  return {name, Isa::avxvnni, nullptr, packed_bytes, pack, scratch_bytes, run, kMr, kNr};
}

}  // namespace
}  // namespace zeropoint::gemm_s8
