// gemm_s8 for AVX2, exact: vpmaddubsw where it cannot saturate, which packing sees to
// (avx2_packing.h), and vpmaddwd by ones to widen its sums.
//
// Tile: up to 6x16, 12 accumulators. A slice of A (the rows of a few tiles, all of K) is used for a
// whole block of columns: one panel meets all tiles of the slice before the next does. The slice is
// copied to scratch, which also gathers a convolution's taps; rows at equal distances that need no
// complements are read where they are.
//
// Bound: the caller proved sum|w| * 255 + |bias| < 2^31. Partial sums may wrap, as complements move
// multiples of 255 to the bias; the final sum does not.
#include <immintrin.h>

#include <cstring>

#include "kernels/gemm_s8/avx2_packing.h"
#include "kernels/gemm_s8/gemm_s8_kernels.h"
#include "kernels/inlining.h"

namespace zeropoint::gemm_s8 {
namespace {

// Panels used with one slice of A before the next slice: what stays in the second-level cache.
constexpr size_t kBlockBytes = 512 * 1024;
// How far ahead of their use products of a few rows ask for the weights. The hardware does as well
// for a single row, and the instructions would cost more than they bring.
constexpr size_t kPrefetchBytes = 2048;

// For each thread: a slice of A and its complements; if K has several chunks, the sums of a tile.
size_t scratch_bytes(int n, int taps, int depth) {
  const size_t panels = (static_cast<size_t>(n) + kNr - 1) / kNr;
  const size_t sums = chunk_count(taps, depth) > 1 ? panels * kMr * kNr * sizeof(int32_t) : 0;
  return 2 * slice_bytes(taps, depth) + sums;
}

// Copies rows m .. m + rows - 1 of A to the slice, their runs side by side. What lies past the
// last one is garbage that meets zero weights. (`a` by value: bytes that are stored could be part
// of it.)
void copy_slice(Rows<act_t> a, int64_t m, int rows, bool complemented, act_t* slice) {
  const size_t stride = slice_stride(a.taps, a.depth);
  const size_t complements = slice_bytes(a.taps, a.depth);
  for (int r = 0; r < rows; ++r) {
    __m256i flip = every_other_byte();
    act_t* to = slice + static_cast<size_t>(r) * stride;
    for (int t = 0; t < a.taps; ++t, to += a.depth) {
      const act_t* from = row_run(a, m + r, t);
      for (int k = 0; k < a.depth; k += 32) {
        const __m256i bytes = load_256(from + k);
        store_256(to + k, bytes);
        if (complemented) store_256(to + k + complements, _mm256_xor_si256(bytes, flip));
      }
      // Which activations are complemented is a matter of where they stand in the slice.
      if (a.depth % 2 != 0) flip = _mm256_xor_si256(flip, _mm256_set1_epi8(-1));
    }
  }
}

// A panel of the weights and the tiles of rows that it meets, one below the other.
struct Tiles {
  explicit Tiles(const RunArgs& args) : c_stride(args.c_stride), out(args.clamp, args.residual) {}

  int count;           // more than 1 only where K is one chunk
  const act_t* slice;  // the rows
  ptrdiff_t stride;
  size_t groups;          // of four rows of K in the longest chunk
  const uint8_t* panel;   // the header of the chunk
  bool last;              // chunk of the panel?
  const int32_t* before;  // the sums of the chunks before, [row][kNr], or nullptr
  int32_t* after;         // where those of this chunk go, unless it is the last
  int columns;            // to store; the rest is padding
  act_t* c = nullptr;     // at (m, first column); exactly one of the two is set
  int32_t* c_s32 = nullptr;
  ptrdiff_t c_stride;
  const act_t* residual = nullptr;  // as c
  RowOutput out;
};

inline __m256i broadcast_4(const act_t* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof(v));
  return _mm256_set1_epi32(v);
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

// Pairs of s16 sums, added to s32.
ZEROPOINT_INLINE void add_pairs(__m256i& acc, __m256i pairs) {
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// The step of 16-bit products.
template <int MR, int kVectors>
ZEROPOINT_INLINE void add_wide(__m256i (*acc)[2], const uint8_t* w, const act_t* a,
                               ptrdiff_t stride) {
  __m256i weights[2], even_weights[2], odd_weights[2];
  ZEROPOINT_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    weights[j] = load_256(w + j * 32);
    even_weights[j] = _mm256_srai_epi16(_mm256_slli_epi16(weights[j], 8), 8);
    odd_weights[j] = _mm256_srai_epi16(weights[j], 8);
  }
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) {
    const __m256i x = broadcast_4(a + r * stride);
    const __m256i even = _mm256_and_si256(x, _mm256_set1_epi16(0xFF));
    const __m256i odd = _mm256_srli_epi16(x, 8);
    ZEROPOINT_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      if constexpr (MR == 1) {
        // A single product fits 16 bits: no need to widen its weight, for one row only.
        add_pairs(acc[r][j], _mm256_maddubs_epi16(even, weights[j]));
      } else {
        acc[r][j] = _mm256_add_epi32(acc[r][j], _mm256_madd_epi16(even, even_weights[j]));
      }
      acc[r][j] = _mm256_add_epi32(acc[r][j], _mm256_madd_epi16(odd, odd_weights[j]));
    }
  }
}

// Stores MR rows of bytes, made from row(r), which has 16 values as s16.
template <int MR, bool kClamp = true, typename Row>
ZEROPOINT_INLINE void store_s8(act_t* c, ptrdiff_t stride, int columns, const OutputClamp& clamp,
                               const Row& row) {
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; r += 2) {
    const __m256i first = row(r);
    const __m256i second = r + 1 < MR ? row(r + 1 < MR ? r + 1 : r) : first;
    const __m256i bytes = narrow_rows<kClamp>(first, second, clamp);
    store_row(c + r * stride, _mm256_castsi256_si128(bytes), columns);
    if (r + 1 < MR) store_row(c + (r + 1) * stride, _mm256_extracti128_si256(bytes, 1), columns);
  }
}

// All steps of a chunk of a panel, whose groups start where `start` says and have the weights w.
template <int MR, int kVectors>
ZEROPOINT_INLINE void add_products(__m256i (*acc)[2], const int32_t* steps, const uint32_t* start,
                                   const uint8_t* w, const act_t* slice, ptrdiff_t stride) {
  const auto prefetch = [&](int lines) ZEROPOINT_LAMBDA {
    if (MR == 1 || MR > 4) return;
    for (int i = 0; i < lines; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes + i * 64), _MM_HINT_T0);
    }
  };

  for (int i = 0; i < steps[kJoined]; ++i, start += 2, w += 128) {
    prefetch(2);
    const act_t* a = slice + start[0];
    const act_t* b = slice + start[1];
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i x = broadcast_4(a + r * stride), y = broadcast_4(b + r * stride);
      ZEROPOINT_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        add_pairs(acc[r][j], _mm256_add_epi16(_mm256_maddubs_epi16(x, load_256(w + j * 64)),
                                              _mm256_maddubs_epi16(y, load_256(w + j * 64 + 32))));
      }
    }
  }
  for (int i = 0; i < steps[kJoinedMasked]; ++i, start += 2, w += 192) {
    prefetch(2);
    const act_t* a = slice + start[0];
    const act_t* b = slice + start[1];
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i x = broadcast_4(a + r * stride), y = broadcast_4(b + r * stride);
      ZEROPOINT_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const __m256i masked = _mm256_xor_si256(x, load_256(w + j * 96 + 64));
        add_pairs(acc[r][j], _mm256_add_epi16(_mm256_maddubs_epi16(masked, load_256(w + j * 96)),
                                              _mm256_maddubs_epi16(y, load_256(w + j * 96 + 32))));
      }
    }
  }
  for (int i = 0; i < steps[kMasked]; ++i, ++start, w += 128) {
    prefetch(2);
    const act_t* a = slice + *start;
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i x = broadcast_4(a + r * stride);
      ZEROPOINT_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const __m256i masked = _mm256_xor_si256(x, load_256(w + j * 64 + 32));
        add_pairs(acc[r][j], _mm256_maddubs_epi16(masked, load_256(w + j * 64)));
      }
    }
  }
  // A single row takes few instructions: the loop around them counts.
  ZEROPOINT_UNROLL_4
  for (int i = 0; i < steps[kWide]; ++i, ++start, w += 64) {
    prefetch(1);
    add_wide<MR, kVectors>(acc, w, slice + *start, stride);
  }
}

// kChunk: of a panel that has several. kVectors: 1 where no more than 8 columns are to be stored.
template <int MR, bool kChunk, int kVectors>
void compute_tiles(const Tiles& tiles) {
  const auto& header = *reinterpret_cast<const PanelHeader*>(tiles.panel);
  const float* multiplier = header.multiplier;
  const auto* starts = reinterpret_cast<const uint32_t*>(tiles.panel + sizeof(PanelHeader));
  const uint8_t* weights = tiles.panel + sizeof(PanelHeader) + starts_bytes(tiles.groups);
  const ptrdiff_t stride = tiles.stride, c_stride = tiles.c_stride;
  const int columns = tiles.columns;
  // Copies, as bytes that are stored could be part of the originals.
  const RowOutput out = tiles.out;
  const Residual residual = out.residual != nullptr ? *out.residual : Residual{};
  const bool from_zero =
      (!kChunk || tiles.last) && tiles.c_s32 == nullptr && scales_from_zero(header.bounds, out);
  __m256i bias[2];
  for (int j = 0; j < kVectors; ++j) {
    bias[j] = load_256(header.bias + j * 8);
    if (from_zero) bias[j] = _mm256_add_epi32(bias[j], _mm256_set1_epi32(kTwo23Bits));
  }

  const act_t* slice = tiles.slice;
  act_t* c = tiles.c;
  int32_t* c_s32 = tiles.c_s32;
  const act_t* addend = tiles.residual;
  for (int left = tiles.count;;) {
    __m256i acc[MR][2] = {};
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      ZEROPOINT_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        acc[r][j] = bias[j];
        if (kChunk && tiles.before != nullptr) {
          acc[r][j] = _mm256_add_epi32(bias[j], load_256(tiles.before + r * kNr + j * 8));
        }
      }
    }
    add_products<MR, kVectors>(acc, header.steps, starts, weights, slice, stride);

    if (kChunk && !tiles.last) {
      ZEROPOINT_UNROLL
      for (int r = 0; r < MR; ++r) store_row_s32(tiles.after + r * kNr, acc[r], kNr);
    } else if (c_s32 != nullptr) {
      ZEROPOINT_UNROLL
      for (int r = 0; r < MR; ++r) store_row_s32(c_s32 + r * c_stride, acc[r], columns);
    } else if (out.residual != nullptr) {
      store_s8<MR>(c, c_stride, columns, residual.clamp, [&](int r) ZEROPOINT_LAMBDA {
        return add_row(acc[r], multiplier, out, residual,
                       load_row(addend + r * residual.stride, columns));
      });
    } else if (from_zero) {
      store_s8<MR, false>(c, c_stride, columns, out.clamp, [&](int r) ZEROPOINT_LAMBDA {
        return scale_row<RowScaling::from_zero>(acc[r], multiplier, out);
      });
    } else if (header.bounds.bounded != 0) {
      store_s8<MR>(c, c_stride, columns, out.clamp, [&](int r) ZEROPOINT_LAMBDA {
        return scale_row<RowScaling::bounded>(acc[r], multiplier, out);
      });
    } else {
      store_s8<MR>(c, c_stride, columns, out.clamp, [&](int r) ZEROPOINT_LAMBDA {
        return scale_row<RowScaling::any>(acc[r], multiplier, out);
      });
    }
    if (kChunk || --left == 0) return;
    slice += MR * stride;
    if (c != nullptr) c += MR * c_stride;
    if (c_s32 != nullptr) c_s32 += MR * c_stride;
    if (addend != nullptr) addend += MR * residual.stride;
  }
}

using TilesFunction = void (*)(const Tiles&);
template <bool kChunk, int kVectors>
constexpr TilesFunction kTiles[] = {
    compute_tiles<1, kChunk, kVectors>, compute_tiles<2, kChunk, kVectors>,
    compute_tiles<3, kChunk, kVectors>, compute_tiles<4, kChunk, kVectors>,
    compute_tiles<5, kChunk, kVectors>, compute_tiles<6, kChunk, kVectors>};

// All rows of the call by columns n_begin .. n_end.
void run_block(const RunArgs& args, int n_begin, int n_end) {
  const int64_t rows = args.m_end - args.m_begin;
  const auto* packed = static_cast<const uint8_t*>(args.packed);
  const bool complemented = reinterpret_cast<const PackedHeader*>(packed)->complemented != 0;
  const auto* table = reinterpret_cast<const uint64_t*>(packed + sizeof(PackedHeader));
  const size_t chunks = chunk_count(args.a.taps, args.a.depth);
  const size_t slice_size = slice_bytes(args.a.taps, args.a.depth);
  act_t* slice = static_cast<act_t*>(args.scratch);
  // Rows that nobody complements are read as they lie.
  const bool direct = !complemented && args.a.offsets == nullptr;
  Tiles tiles(args);
  tiles.slice = slice;
  tiles.stride =
      direct ? args.a.stride : static_cast<ptrdiff_t>(slice_stride(args.a.taps, args.a.depth));
  tiles.groups = chunk_groups(args.a.taps, args.a.depth);
  const int most = slice_tiles(args.a.taps, args.a.depth);
  const Residual& residual = args.residual;
  // Tiles of nearly equal height, the higher ones first.
  int64_t left = (rows + kMr - 1) / kMr;
  for (int64_t m = args.m_begin; m < args.m_end;) {
    const int64_t rows_left = args.m_end - m;
    const int height = static_cast<int>((rows_left + left - 1) / left);
    const int64_t alike = rows_left % left != 0 ? rows_left % left : left;
    tiles.count = static_cast<int>(alike < most ? alike : most);
    if (direct) {
      tiles.slice = args.a.base + m * args.a.stride;
    } else {
      copy_slice(args.a, m, height * tiles.count, complemented, slice);
    }
    const TilesFunction compute = (chunks > 1 ? kTiles<true, 2> : kTiles<false, 2>)[height - 1];
    // The last panel may be half empty.
    const TilesFunction narrow = chunks > 1 ? compute : kTiles<false, 1>[height - 1];
    for (size_t chunk = 0; chunk < chunks; ++chunk) {
      tiles.last = chunk + 1 == chunks;
      int32_t* sums = reinterpret_cast<int32_t*>(slice + 2 * slice_size);
      for (int n0 = n_begin; n0 < n_end; n0 += kNr, sums += kMr * kNr) {
        const ptrdiff_t at = m * args.c_stride + n0;
        tiles.panel = packed + table[static_cast<size_t>(n0 / kNr) * chunks + chunk];
        tiles.before = chunk > 0 ? sums : nullptr;
        tiles.after = sums;
        tiles.columns = n_end - n0 < kNr ? n_end - n0 : kNr;
        if (args.c_s32 != nullptr) {
          tiles.c_s32 = args.c_s32 + at;
        } else {
          tiles.c = args.c + at;
        }
        if (residual.data != nullptr) tiles.residual = residual.data + m * residual.stride + n0;
        (tiles.columns > kNr / 2 ? compute : narrow)(tiles);
      }
    }
    m += int64_t{height} * tiles.count;
    left -= tiles.count;
  }
}

void run(const RunArgs& args) {
  if (args.m_begin >= args.m_end) return;
  const auto* table = reinterpret_cast<const uint64_t*>(static_cast<const uint8_t*>(args.packed) +
                                                        sizeof(PackedHeader));
  const size_t chunks = chunk_count(args.a.taps, args.a.depth);
  const auto start = [&](int n0) { return table[static_cast<size_t>(n0 / kNr) * chunks]; };
  for (int n0 = args.n_begin; n0 < args.n_end;) {
    int end = n0 + kNr;
    while (end < args.n_end && start(end + kNr) <= start(n0) + kBlockBytes) {
      end += kNr;
    }
    run_block(args, n0, end < args.n_end ? end : args.n_end);
    n0 = end;
  }
}

constexpr Kernel kKernels[] = {
    {"gemm_s8_6x16_avx2", Isa::avx2, nullptr, packed_bytes, pack, scratch_bytes, run, kMr, kNr,
     used_bytes},
};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
