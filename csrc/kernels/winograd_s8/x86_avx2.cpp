// winograd_s8 for AVX2: vpmaddwd on transforms of 16 bits.
//
// Tile: up to 6 tiles of the image x 16 columns, 12 accumulators, for each position of a transform.
// Some tiles of the image are transformed at once to scratch, [position][tile][channel]; then, for
// each panel of columns, their products with the panel's weights are summed, [position][tile]
// [column] in scratch, and transformed back.
//
// Packed, per panel of 16 columns: a PanelHeader; then for each position, for each pair of
// channels, [16][2] int16.
//
// Bound: a pair's products fit int32 (avx2_transforms.h). Sums may wrap: see winograd_s8.h.
#include <immintrin.h>

#include <cstring>

#include "kernels/rows_avx2.h"
#include "kernels/winograd_s8/avx2_transforms.h"
#include "kernels/winograd_s8/winograd_s8_kernels.h"

namespace zeropoint::winograd_s8 {
namespace {

constexpr int kMr = 6;
constexpr int kNr = kRowColumns;
// Tiles that are transformed at once: as many as keep the sums of a panel in the first-level cache
// and the transforms in the second; of the latter, no less than 12.
constexpr size_t kSumBytes = 25 * 1024;
constexpr size_t kTransformBytes = 256 * 1024;

struct alignas(64) PanelHeader {
  int32_t bias[kNr];
  int32_t centre[kNr];  // of F4
  float multiplier[kNr];
  RowBounds bounds;
};

size_t pairs_of(int depth) { return (static_cast<size_t>(depth) + 1) / 2; }

// Channels of a transform; those past the last meet zero weights.
size_t padded_depth(int depth) { return (static_cast<size_t>(depth) + 15) / 16 * 16; }

// Sixteen channels.
ZEROPOINT_INLINE __m256i load_channels(const act_t* x) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}

ZEROPOINT_INLINE __m256i broadcast_pair(const int16_t* p) {
  int32_t v;
  std::memcpy(&v, p, sizeof v);
  return _mm256_set1_epi32(v);
}

// MR tiles of one position by one panel, summed over the channels.
template <int MR>
void multiply(const int16_t* x, size_t depth, size_t pairs, const uint8_t* weights, int32_t* sums) {
  __m256i acc[MR][2];
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
  for (size_t k = 0; k < pairs; ++k, x += 2, weights += 64) {
    const __m256i w0 = load_256(weights), w1 = load_256(weights + 32);
    ZEROPOINT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const __m256i pair = broadcast_pair(x + static_cast<size_t>(r) * depth);
      acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(pair, w0));
      acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(pair, w1));
    }
  }
  ZEROPOINT_UNROLL
  for (int r = 0; r < MR; ++r) {
    store_256(sums + r * kNr, acc[r][0]);
    store_256(sums + r * kNr + 8, acc[r][1]);
  }
}

using Multiply = void (*)(const int16_t*, size_t, size_t, const uint8_t*, int32_t*);
constexpr Multiply kMultiply[] = {multiply<1>, multiply<2>, multiply<3>,
                                  multiply<4>, multiply<5>, multiply<6>};

// A kernel, from its transforms in one dimension.
template <typename Transform>
struct Winograd {
  static constexpr int kTile = Transform::kTile, kSide = kTile + 2;
  static constexpr size_t kPositions = kSide * kSide;

  static size_t position_bytes(int depth) { return pairs_of(depth) * kNr * 2 * sizeof(int16_t); }

  static size_t panel_bytes(int depth) {
    return sizeof(PanelHeader) + kPositions * position_bytes(depth);
  }

  static size_t packed_bytes(int n, int depth) {
    return (static_cast<size_t>(n) + kNr - 1) / kNr * panel_bytes(depth);
  }

  static size_t tiles_at_once(int depth) {
    constexpr size_t kMost = kSumBytes / (kPositions * kNr * sizeof(int32_t)) / kMr * kMr;
    constexpr size_t kLeast = kMost < 12 ? kMost : 12;
    const size_t fit = kTransformBytes / (kPositions * padded_depth(depth) * sizeof(int16_t));
    return fit >= kMost ? kMost : fit < kLeast ? kLeast : fit / kMr * kMr;
  }

  static size_t scratch_bytes(int depth) {
    const size_t tiles = tiles_at_once(depth);
    return kPositions * tiles * (padded_depth(depth) * sizeof(int16_t) + kNr * sizeof(int32_t));
  }

  // G g G^T of one column and channel.
  static void transform_weights(const int8_t* g, ptrdiff_t depth, int16_t (&out)[kPositions]) {
    int columns[3][kSide], row[kSide];
    for (ptrdiff_t x = 0; x < 3; ++x) {
      Transform::weights(g[x * depth], g[(3 + x) * depth], g[(6 + x) * depth], columns[x]);
    }
    for (int i = 0; i < kSide; ++i) {
      Transform::weights(columns[0][i], columns[1][i], columns[2][i], row);
      for (int j = 0; j < kSide; ++j) out[i * kSide + j] = static_cast<int16_t>(row[j]);
    }
  }

  static void pack(const PackArgs& args, void* packed) {
    std::memset(packed, 0, packed_bytes(args.n, args.depth));
    auto* panel = static_cast<uint8_t*>(packed);
    const size_t window = 9 * static_cast<size_t>(args.depth);
    const size_t position_size = position_bytes(args.depth) / sizeof(int16_t);
    for (int n0 = 0; n0 < args.n; n0 += kNr, panel += panel_bytes(args.depth)) {
      const int columns = args.n - n0 < kNr ? args.n - n0 : kNr;
      auto& header = *reinterpret_cast<PanelHeader*>(panel);
      header.bounds = RowBounds{};
      auto* to = reinterpret_cast<int16_t*>(panel + sizeof header);
      for (int j = 0; j < columns; ++j) {
        const int8_t* w = args.weights + static_cast<size_t>(n0 + j) * window;
        header.bias[j] = args.bias[n0 + j];
        header.multiplier[j] = args.multiplier[n0 + j];
        header.bounds.add_column(w, window, header.bias[j], header.multiplier[j]);
        Transform::centre(w, window, header.bias[j], header.centre[j]);
        for (int c = 0; c < args.depth; ++c) {
          int16_t transformed[kPositions];
          transform_weights(w + c, args.depth, transformed);
          int16_t* at = to + (c / 2 * kNr + j) * 2 + c % 2;
          for (size_t i = 0; i < kPositions; ++i) at[i * position_size] = transformed[i];
        }
      }
    }
  }

  // B^T d B of the tiles from `first` on, to [position][`tiles`][depth].
  static void transform_inputs(const RunArgs& args, int64_t first, int64_t count, size_t tiles,
                               int16_t* transforms) {
    const Image& image = args.image;
    const int tile_columns = image.tile_columns(kTile);
    const size_t depth = padded_depth(args.depth);
    const size_t position_size = tiles * depth;
    int row = static_cast<int>(first / tile_columns);
    int column = static_cast<int>(first % tile_columns);
    for (int64_t t = 0; t < count; ++t, transforms += depth) {
      const act_t* pixels[kSide][kSide];
      for (int i = 0; i < kSide; ++i) {
        const int y = kTile * row - image.pad_top + i;
        for (int j = 0; j < kSide; ++j) {
          const int x = kTile * column - image.pad_left + j;
          const bool inside = y >= 0 && y < image.height && x >= 0 && x < image.width;
          pixels[i][j] = inside
                             ? args.x + (static_cast<ptrdiff_t>(y) * image.width + x) * args.depth
                             : args.pad;
        }
      }
      if (++column == tile_columns) {
        column = 0;
        ++row;
      }
      for (size_t c = 0; c < depth; c += 16) {
        __m256i rows[kSide][kSide], in[kSide], out[kSide];
        ZEROPOINT_UNROLL
        for (int j = 0; j < kSide; ++j) {
          ZEROPOINT_UNROLL
          for (int i = 0; i < kSide; ++i) in[i] = load_channels(pixels[i][j] + c);
          Transform::inputs(in, out);
          ZEROPOINT_UNROLL
          for (int i = 0; i < kSide; ++i) rows[i][j] = out[i];
        }
        ZEROPOINT_UNROLL
        for (size_t i = 0; i < kSide; ++i) {
          Transform::inputs(rows[i], out);
          ZEROPOINT_UNROLL
          for (size_t j = 0; j < kSide; ++j) {
            store_256(transforms + (kSide * i + j) * position_size + c, out[j]);
          }
        }
      }
    }
  }

  // A panel's sums of `count` tiles from `first` on, to output columns [n0, n0 + columns).
  struct Finish {
    const RunArgs& args;
    const RowOutput out;
    const PanelHeader& header;
    const int32_t* sums;
    size_t position_size;
    int n0, columns;
    int64_t first, count;

    // A^T m A of 8 columns, the accumulators of the tile's pixels.
    static ZEROPOINT_INLINE void transform(const int32_t* sums, size_t position_size, __m256i bias,
                                           const int32_t* centre, __m256i (&pixels)[kTile][kTile]) {
      __m256i halves[kTile][kSide], in[kSide], out[kTile];
      ZEROPOINT_UNROLL
      for (size_t i = 0; i < kSide; ++i) {
        ZEROPOINT_UNROLL
        for (size_t j = 0; j < kSide; ++j) {
          in[j] = load_256(sums + (kSide * i + j) * position_size);
        }
        Transform::sums(in, out);
        ZEROPOINT_UNROLL
        for (int j = 0; j < kTile; ++j) halves[j][i] = out[j];
      }
      ZEROPOINT_UNROLL
      for (int j = 0; j < kTile; ++j) {
        Transform::sums(halves[j], out);
        ZEROPOINT_UNROLL
        for (int i = 0; i < kTile; ++i) pixels[i][j] = Transform::finish(out[i], bias, centre);
      }
    }

    // kFromZero: the rows are made by RowScaling::from_zero.
    template <bool kFromZero, typename Row>
    ZEROPOINT_INLINE void store(const OutputClamp& clamp, const Row& row) const {
      const Image& image = args.image;
      const int tile_columns = image.tile_columns(kTile);
      const __m256i offset = _mm256_set1_epi32(kFromZero ? kTwo23Bits : 0);
      int y = static_cast<int>(first / tile_columns) * kTile;
      int x = static_cast<int>(first % tile_columns) * kTile;
      for (int64_t t = 0; t < count; ++t) {
        __m256i acc[2][kTile][kTile];
        for (int v = 0; v < 2; ++v) {
          transform(sums + t * kNr + v * 8, position_size,
                    _mm256_add_epi32(load_256(header.bias + v * 8), offset), header.centre + v * 8,
                    acc[v]);
        }
        for (int i = 0; i < kTile && y + i < image.out_height; ++i) {
          for (int j = 0; j < kTile && x + j < image.out_width; j += 2) {
            const ptrdiff_t pixel = static_cast<ptrdiff_t>(y + i) * image.out_width + x + j;
            const bool two = x + j + 1 < image.out_width;
            const __m256i first_sums[2] = {acc[0][i][j], acc[1][i][j]};
            const __m256i second_sums[2] = {acc[0][i][j + 1], acc[1][i][j + 1]};
            const __m256i first_row = row(first_sums, pixel);
            const __m256i second_row = two ? row(second_sums, pixel + 1) : first_row;
            const __m256i bytes = narrow_rows<!kFromZero>(first_row, second_row, clamp);
            act_t* c = args.c + pixel * args.c_stride + n0;
            store_row(c, _mm256_castsi256_si128(bytes), columns);
            if (two) store_row(c + args.c_stride, _mm256_extracti128_si256(bytes, 1), columns);
          }
        }
        x += kTile;
        if (x >= image.out_width) {
          x = 0;
          y += kTile;
        }
      }
    }

    template <RowScaling kScaling>
    void scale() const {
      store<kScaling == RowScaling::from_zero>(
          out.clamp, [&](const __m256i(&acc)[2], ptrdiff_t) ZEROPOINT_LAMBDA {
            return scale_row<kScaling>(acc, header.multiplier, out);
          });
    }

    void run() const {
      if (out.residual != nullptr) {
        const Residual& residual = *out.residual;
        store<false>(residual.clamp, [&](const __m256i(&acc)[2], ptrdiff_t pixel) ZEROPOINT_LAMBDA {
          return add_row(acc, header.multiplier, out, residual,
                         load_row(residual.data + pixel * residual.stride + n0, columns));
        });
      } else if (scales_from_zero(header.bounds, out)) {
        scale<RowScaling::from_zero>();
      } else if (header.bounds.bounded != 0) {
        scale<RowScaling::bounded>();
      } else {
        scale<RowScaling::any>();
      }
    }
  };

  static void run(const RunArgs& args) {
    const size_t depth = padded_depth(args.depth), pairs = pairs_of(args.depth);
    const size_t at_once = tiles_at_once(args.depth);
    auto* transforms = static_cast<int16_t*>(args.scratch);
    auto* sums = reinterpret_cast<int32_t*>(transforms + kPositions * at_once * depth);
    const RowOutput out(args.clamp, args.residual);

    const int64_t total = args.tile_end - args.tile_begin;
    const int64_t blocks =
        (total + static_cast<int64_t>(at_once) - 1) / static_cast<int64_t>(at_once);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = args.tile_begin + total * block / blocks;
      const int64_t count = args.tile_begin + total * (block + 1) / blocks - first;
      transform_inputs(args, first, count, at_once, transforms);
      const auto* panel = static_cast<const uint8_t*>(args.packed);
      const int64_t groups = (count + kMr - 1) / kMr;  // of nearly equal height
      for (int n0 = 0; n0 < args.n; n0 += kNr, panel += panel_bytes(args.depth)) {
        const uint8_t* weights = panel + sizeof(PanelHeader);
        for (size_t i = 0; i < kPositions; ++i, weights += position_bytes(args.depth)) {
          for (int64_t g = 0; g < groups; ++g) {
            const auto begin = static_cast<size_t>(count * g / groups);
            const auto end = static_cast<size_t>(count * (g + 1) / groups);
            kMultiply[end - begin - 1](transforms + (i * at_once + begin) * depth, depth, pairs,
                                       weights, sums + (i * at_once + begin) * kNr);
          }
        }
        const auto& header = *reinterpret_cast<const PanelHeader*>(panel);
        const int columns = args.n - n0 < kNr ? args.n - n0 : kNr;
        Finish{args, out, header, sums, at_once * kNr, n0, columns, first, count}.run();
      }
    }
  }

  static constexpr Kernel kernel(const char* name, int64_t max_magnitude) {
    return {name, Isa::avx2, kTile, max_magnitude, packed_bytes, pack, scratch_bytes, run};
  }
};

constexpr Kernel kKernels[] = {
    Winograd<F2>::kernel("winograd_s8_2x2_avx2", kMaxMagnitudeF2),
    Winograd<F4>::kernel("winograd_s8_4x4_avx2", kMaxMagnitudeF4),
};

}  // namespace

KernelSpan<Kernel> x86_avx2_kernels() { return {kKernels, 2}; }

}  // namespace zeropoint::winograd_s8
