// gemm_s8 for AVX2, exact: both operands as s16, vpmaddwd (two products summed into s32) + vpaddd.
// vpmaddubsw is not used: its s16 sums can saturate.
//
// Tile: up to 6x16, 12 accumulators. A slice of A (the tile's rows, all of K) is widened to s16 in
// scratch, which also gathers a convolution's taps, and is used for a whole block of columns. B
// stays int8 in memory (half the traffic, and a matrix-vector product is bound by that) and is
// widened by vpmovsxbw as it is loaded: 2 extra operations for 24.
//
// Packed: panels of 16 columns,
//   { int32 bias[16]; float multiplier[16]; int8 weights[taps * ceil(depth / 2)][16][2] }
// Padded columns and the padding of an odd depth hold zero weights.
//
// Bound: a pair of products is at most 2 * 255 * 128 in s32; the caller proved
// sum|w| * 255 + |bias| < 2^31, so no partial sum wraps.
#include <immintrin.h>

#include <cstring>

#include "kernels/gemm_s8/gemm_s8_kernels.h"

#if defined(__clang__)
#define ZEROPOINT_UNROLL _Pragma("unroll")
#else
#define ZEROPOINT_UNROLL _Pragma("GCC unroll 16")
#endif

namespace zeropoint::gemm_s8 {
namespace {

constexpr int kMr = 6;
constexpr int kNr = 16;
constexpr size_t kHeaderBytes = kNr * (sizeof(int32_t) + sizeof(float));
// Panels used with one slice of A before the next slice: what stays in the second-level cache.
constexpr size_t kBlockBytes = 256 * 1024;
// How far ahead of its use a matrix-vector product asks for the weights.
constexpr size_t kPrefetchBytes = 2048;

// s16 elements of one row of the slice: every tap's run padded to a pair.
size_t slice_depth(int taps, int depth) {
  return static_cast<size_t>(taps) * ((static_cast<size_t>(depth) + 1) / 2 * 2);
}

// Distance between rows of the slice: widening writes 16 elements at a time.
size_t slice_stride(int taps, int depth) { return (slice_depth(taps, depth) + 15) / 16 * 16 + 16; }

size_t panel_bytes(int taps, int depth) { return kHeaderBytes + slice_depth(taps, depth) * kNr; }

size_t packed_bytes(int n, int taps, int depth) {
  return (static_cast<size_t>(n) + kNr - 1) / kNr * panel_bytes(taps, depth);
}

size_t scratch_bytes(int, int taps, int depth) {
  return kMr * slice_stride(taps, depth) * sizeof(int16_t);
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
      uint8_t* to = out + kHeaderBytes + j * 2;
      for (int t = 0; t < args.taps; ++t, column += depth) {
        size_t k = 0;
        for (; k + 2 <= depth; k += 2, to += kNr * 2) std::memcpy(to, column + k, 2);
        if (k < depth) {
          *to = static_cast<uint8_t>(column[k]);
          to += kNr * 2;
        }
      }
    }
  }
}

// Rows m .. m + height - 1 of A as s16. What lies past a run is garbage that meets zero weights.
void widen_slice(const Rows<act_t>& a, int64_t m, int height, size_t stride, int16_t* slice) {
  const int padded = (a.depth + 1) / 2 * 2;
  for (int r = 0; r < height; ++r) {
    int16_t* to = slice + static_cast<size_t>(r) * stride;
    for (int t = 0; t < a.taps; ++t, to += padded) {
      const act_t* from = row_run(a, m + r, t);
      for (int k = 0; k < a.depth; k += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + k), _mm256_cvtepu8_epi16(bytes));
      }
    }
  }
}

// The requantization constants that all columns share.
struct Output {
  float hi;  // qmax - zero_point
  int zero_point;
  int qmin;
  float lo;                  // qmin - zero_point: for residuals
  const Residual* residual;  // nullptr: none
};

struct Tile {
  const int16_t* slice;  // the tile's rows, widened
  size_t stride;
  size_t depth;
  const uint8_t* panel;  // its header
  int columns;           // to store; the rest is padding
  act_t* c;              // at (m, first column); exactly one of the two is set
  int32_t* c_s32;
  ptrdiff_t c_stride;
  const act_t* residual;  // as c
  Output out;
};

inline int32_t load_pair(const int16_t* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// One row's sums -> s16 before the zero point, the two vectors' 128-bit halves interleaved. Only
// the upper bound must be applied before the conversion: below, vcvtps2dq answers INT_MIN and the
// saturating packs keep that at the bottom.
inline __m256i scale_row(const __m256i* acc, const float* multiplier, const Output& out) {
  const __m256 hi = _mm256_set1_ps(out.hi);
  __m256i q[2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    const __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[j]), _mm256_loadu_ps(multiplier + j * 8));
    q[j] = _mm256_cvtps_epi32(_mm256_min_ps(v, hi));
  }
  return _mm256_add_epi16(_mm256_packs_epi32(q[0], q[1]),
                          _mm256_set1_epi16(static_cast<short>(out.zero_point)));
}

// One row's sums, requantized and added to 16 bytes of the residual -> s16 before the second zero
// point, in the order of scale_row.
inline __m256i add_row(const __m256i* acc, const float* multiplier, const Output& out,
                       __m128i other) {
  const Residual& residual = *out.residual;
  const __m256 lo = _mm256_set1_ps(out.lo), hi = _mm256_set1_ps(out.hi);
  __m256i q[2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[j]), _mm256_loadu_ps(multiplier + j * 8));
    v = _mm256_round_ps(_mm256_max_ps(_mm256_min_ps(v, hi), lo),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256i wide = _mm256_cvtepu8_epi32(j == 0 ? other : _mm_srli_si128(other, 8));
    const __m256 w =
        _mm256_cvtepi32_ps(_mm256_sub_epi32(wide, _mm256_set1_epi32(residual.zero_point)));
    q[j] = _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(v, _mm256_set1_ps(residual.multiplier_c)),
                                            _mm256_mul_ps(w, _mm256_set1_ps(residual.multiplier))));
  }
  return _mm256_adds_epi16(_mm256_packs_epi32(q[0], q[1]),
                           _mm256_set1_epi16(static_cast<short>(residual.clamp.zero_point)));
}

inline __m128i load_row(const act_t* x, int columns) {
  if (columns == kNr) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  act_t row[kNr] = {};
  std::memcpy(row, x, static_cast<size_t>(columns));
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
}

inline void store_row(act_t* c, __m128i bytes, int columns) {
  if (columns == kNr) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(c), bytes);
  } else {
    act_t row[kNr];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row), bytes);
    std::memcpy(c, row, static_cast<size_t>(columns));
  }
}

inline void store_row_s32(int32_t* c, const __m256i* acc, int columns) {
  if (columns == kNr) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), acc[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c + 8), acc[1]);
  } else {
    int32_t row[kNr];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row), acc[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + 8), acc[1]);
    std::memcpy(c, row, static_cast<size_t>(columns) * sizeof(int32_t));
  }
}

template <int MR>
void compute_tile(const Tile& tile) {
  const int32_t* bias = reinterpret_cast<const int32_t*>(tile.panel);
  const float* multiplier = reinterpret_cast<const float*>(bias + kNr);
  const uint8_t* w = tile.panel + kHeaderBytes;

  __m256i acc[MR][2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < 2; ++j) {
    const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bias + j * 8));
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) acc[r][j] = start;
  }
  const int16_t* a[MR];
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) a[r] = tile.slice + static_cast<size_t>(r) * tile.stride;

  for (size_t k = 0; k < tile.depth; k += 2, w += kNr * 2) {
    if (MR <= 4) _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes), _MM_HINT_T0);
    __m256i b[2];
    ZEROPOINT_UNROLL
    for (int j = 0; j < 2; ++j) {
      b[j] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + j * 16)));
    }
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i x = _mm256_set1_epi32(load_pair(a[r] + k));
      acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(x, b[0]));
      acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(x, b[1]));
    }
  }

  if (tile.c_s32 != nullptr) {
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      store_row_s32(tile.c_s32 + r * tile.c_stride, acc[r], tile.columns);
    }
    return;
  }
  const Residual* residual = tile.out.residual;
  const OutputClamp clamp = residual != nullptr ? residual->clamp : OutputClamp{0, tile.out.qmin};
  const __m256i qmin = _mm256_set1_epi8(static_cast<char>(clamp.qmin));
  const __m256i qmax = _mm256_set1_epi8(static_cast<char>(clamp.qmax));
  // The packs work within 128-bit lanes: gather the dwords of two rows again.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; r += 2) {
    const auto row = [&](int i) __attribute__((always_inline)) {
      return residual == nullptr
                 ? scale_row(acc[i], multiplier, tile.out)
                 : add_row(acc[i], multiplier, tile.out,
                           load_row(tile.residual + i * residual->stride, tile.columns));
    };
    const __m256i first = row(r);
    const __m256i second = r + 1 < MR ? row(r + 1 < MR ? r + 1 : r) : first;
    const __m256i packed = _mm256_packus_epi16(first, second);
    const __m256i bytes =
        _mm256_permutevar8x32_epi32(_mm256_min_epu8(_mm256_max_epu8(packed, qmin), qmax), order);
    store_row(tile.c + r * tile.c_stride, _mm256_castsi256_si128(bytes), tile.columns);
    if (r + 1 < MR) {
      store_row(tile.c + (r + 1) * tile.c_stride, _mm256_extracti128_si256(bytes, 1), tile.columns);
    }
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
  int16_t* slice = static_cast<int16_t*>(args.scratch);
  Tile tile;
  tile.slice = slice;
  tile.stride = slice_stride(args.a.taps, args.a.depth);
  tile.depth = slice_depth(args.a.taps, args.a.depth);
  tile.c = nullptr;
  tile.c_s32 = nullptr;
  tile.c_stride = args.c_stride;
  tile.out.hi = static_cast<float>(args.clamp.qmax - args.clamp.zero_point);
  tile.out.zero_point = args.clamp.zero_point;
  tile.out.qmin = args.clamp.qmin;
  tile.out.lo = static_cast<float>(args.clamp.qmin - args.clamp.zero_point);
  const Residual& residual = args.residual;
  tile.out.residual = residual.data != nullptr ? &residual : nullptr;
  tile.residual = nullptr;
  int64_t m = args.m_begin;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t next = args.m_begin + rows * (i + 1) / tiles;
    const int height = static_cast<int>(next - m);
    widen_slice(args.a, m, height, tile.stride, slice);
    for (int n0 = n_begin; n0 < n_end; n0 += kNr) {
      const ptrdiff_t at = m * args.c_stride + n0;
      tile.panel = static_cast<const uint8_t*>(args.packed) + static_cast<size_t>(n0 / kNr) * bytes;
      tile.columns = n_end - n0 < kNr ? n_end - n0 : kNr;
      if (args.c_s32 != nullptr) {
        tile.c_s32 = args.c_s32 + at;
      } else {
        tile.c = args.c + at;
      }
      if (residual.data != nullptr) tile.residual = residual.data + m * residual.stride + n0;
      kTiles[height - 1](tile);
    }
    m = next;
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

constexpr Kernel kKernels[] = {
    {"gemm_s8_6x16_avx2", Isa::avx2, nullptr, packed_bytes, pack, scratch_bytes, run, kMr, kNr},
};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
