// What the kernels of winograd_s8 share: packing, transforms, and the order of the work. For ISA
// files only.
//
// Some tiles of the image are transformed at once to scratch, [position][tile][channel]; then, for
// each panel of columns, their products with the panel's weights are summed, [position][tile]
// [column] in scratch, and transformed back.
//
// Packed, per panel of 16 columns: a PanelHeader; then for each position, for each pair of
// channels, [16][2] int16.
//
// Bound: a pair's products fit int32 (transforms.h). Sums may wrap: see winograd_s8.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/inlining.h"
#include "kernels/winograd_s8/transforms.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace zeropoint::winograd_s8 {
namespace {

constexpr int kNr = 16;
constexpr size_t kPairBytes = kNr * 2 * sizeof(int16_t);  // of packed weights
// Of the second-level cache, for the transforms of tiles beyond the twelfth; the sums of all that
// are transformed at once have kSumBytes of the first-level cache.
constexpr size_t kTransformBytes = 256 * 1024;

inline size_t pairs_of(int depth) { return (static_cast<size_t>(depth) + 1) / 2; }

// A kernel, from its transforms in one dimension and what a level has for it:
//   kIsa; kSumBytes
//   kMr, kMultiply[kMr]  sums of 1, 2 ... tiles of a position by one panel, over all channels
//   Words, Dwords, SignedDwords   vectors of uint16_t, uint32_t, int32_t
//   load_channels(p), load_weights(p)   a vector of activations, of weights, widened
//   Bounds               what is to be known of a panel's columns
//   finish(panel)        requantizes and stores a Panel
template <typename Transform, typename Level>
struct Winograd {
  static constexpr int kTile = Transform::kTile, kSide = kTile + 2;
  static constexpr size_t kPositions = kSide * kSide;
  static constexpr size_t kMr = Level::kMr;
  using Words = typename Level::Words;
  using Dwords = typename Level::Dwords;
  using SignedDwords = typename Level::SignedDwords;
  static constexpr size_t kChannels = sizeof(Words) / sizeof(uint16_t);
  static constexpr size_t kLanes = sizeof(Dwords) / sizeof(uint32_t);
  static constexpr size_t kVectors = kNr / kLanes;  // of a panel's columns

  struct alignas(64) PanelHeader {
    int32_t bias[kNr];
    int32_t centre[kNr];  // see F4
    float multiplier[kNr];
    typename Level::Bounds bounds;
  };

  // Channels of a transform; those past the last meet zero weights.
  static size_t padded_depth(int depth) {
    return (static_cast<size_t>(depth) + kChannels - 1) / kChannels * kChannels;
  }

  // Tiles side by side.
  static int tiles_across(const Image& image) { return (image.out_width - 1) / kTile + 1; }

  static size_t position_bytes(int depth) { return pairs_of(depth) * kPairBytes; }

  static size_t panel_bytes(int depth) {
    return sizeof(PanelHeader) + kPositions * position_bytes(depth);
  }

  static size_t packed_bytes(int n, int depth) {
    return (static_cast<size_t>(n) + kNr - 1) / kNr * panel_bytes(depth);
  }

  static size_t tiles_at_once(int depth) {
    constexpr size_t kMost = Level::kSumBytes / (kPositions * kNr * sizeof(int32_t)) / kMr * kMr;
    constexpr size_t kLeast = kMost < 12 ? kMost : 12;
    const size_t fit = kTransformBytes / (kPositions * padded_depth(depth) * sizeof(int16_t));
    return fit >= kMost ? kMost : fit < kLeast ? kLeast : fit / kMr * kMr;
  }

  static size_t scratch_bytes(int depth) {
    const size_t tiles = tiles_at_once(depth);
    return kPositions * tiles * (padded_depth(depth) * sizeof(int16_t) + kNr * sizeof(int32_t));
  }

  // G g G^T of `channels` channels of one column, no more than a vector; zeros past them.
  static void transform_weights(const int8_t* g, int depth, size_t channels,
                                Words (&out)[kPositions]) {
    Words in[3], columns[3][kSide], row[kSide];
    for (int j = 0; j < 3; ++j) {
      for (int i = 0; i < 3; ++i) {
        int8_t run[kChannels] = {};
        std::memcpy(run, g + (3 * i + j) * static_cast<ptrdiff_t>(depth), channels);
        in[i] = Level::load_weights(run);
      }
      Transform::weights(in, columns[j]);
    }
    for (int i = 0; i < kSide; ++i) {
      for (int j = 0; j < 3; ++j) in[j] = columns[j][i];
      Transform::weights(in, row);
      for (int j = 0; j < kSide; ++j) out[i * kSide + j] = row[j];
    }
  }

  static void pack(const PackArgs& args, void* packed) {
    auto* panel = static_cast<uint8_t*>(packed);
    const auto depth = static_cast<size_t>(args.depth);
    for (int n0 = 0; n0 < args.n; n0 += kNr, panel += panel_bytes(args.depth)) {
      const int columns = args.n - n0 < kNr ? args.n - n0 : kNr;
      const int8_t* w = args.weights + static_cast<size_t>(n0) * 9 * depth;
      std::memset(panel, 0, sizeof(PanelHeader));
      auto& header = *reinterpret_cast<PanelHeader*>(panel);
      header.bounds = typename Level::Bounds{};
      for (int j = 0; j < columns; ++j) {
        const int8_t* column = w + static_cast<size_t>(j) * 9 * depth;
        header.bias[j] = args.bias[n0 + j];
        header.multiplier[j] = args.multiplier[n0 + j];
        header.bounds.add_column(column, 9 * depth, header.bias[j], header.multiplier[j]);
        Transform::centre(column, 9 * depth, header.bias[j], header.centre[j]);
      }
      for (size_t c = 0; c < depth; c += kChannels) {
        const size_t channels = depth - c < kChannels ? depth - c : kChannels;
        Words transformed[kNr][kPositions] = {};
        for (int j = 0; j < columns; ++j) {
          transform_weights(w + static_cast<size_t>(j) * 9 * depth + c, args.depth, channels,
                            transformed[j]);
        }
        uint8_t* to = panel + sizeof header + c / 2 * kPairBytes;
        for (size_t i = 0; i < kPositions; ++i, to += position_bytes(args.depth)) {
          for (size_t pair = 0; pair < (channels + 1) / 2; ++pair) {
            for (size_t j = 0; j < kNr; ++j) {
              std::memcpy(to + pair * kPairBytes + j * 4,
                          reinterpret_cast<const uint8_t*>(&transformed[j][i]) + pair * 4, 4);
            }
          }
        }
      }
    }
  }

  // B^T d B of the tiles from `first` on, to [position][`tiles`][depth].
  static void transform_inputs(const RunArgs& args, int64_t first, int64_t count, size_t tiles,
                               int16_t* transforms) {
    const Image& image = args.image;
    const int tile_columns = tiles_across(image);
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
      for (size_t c = 0; c < depth; c += kChannels) {
        Words rows[kSide][kSide], in[kSide], out[kSide];
        ZEROPOINT_UNROLL
        for (int j = 0; j < kSide; ++j) {
          ZEROPOINT_UNROLL
          for (int i = 0; i < kSide; ++i) in[i] = Level::load_channels(pixels[i][j] + c);
          Transform::inputs(in, out);
          ZEROPOINT_UNROLL
          for (int i = 0; i < kSide; ++i) rows[i][j] = out[i];
        }
        ZEROPOINT_UNROLL
        for (size_t i = 0; i < kSide; ++i) {
          Transform::inputs(rows[i], out);
          ZEROPOINT_UNROLL
          for (size_t j = 0; j < kSide; ++j) {
            std::memcpy(transforms + (kSide * i + j) * position_size + c, &out[j], sizeof(Words));
          }
        }
      }
    }
  }

  // The accumulators of a tile's pixels; the columns of a panel in kVectors vectors.
  using Pixels = Dwords[kVectors][kTile][kTile];

  // A panel's sums of `count` tiles from `first` on, for columns [n0, n0 + columns).
  struct Panel {
    static constexpr int kTile = Winograd::kTile;

    const RunArgs& args;
    const PanelHeader& header;
    const int32_t* sums;
    size_t position_size;
    int n0, columns;
    int64_t first, count;

    // A^T m A of a vector of columns.
    static ZEROPOINT_INLINE void transform(const int32_t* sums, size_t position_size, Dwords bias,
                                           Dwords centre, Dwords (&pixels)[kTile][kTile]) {
      Dwords halves[kTile][kSide], in[kSide], out[kTile];
      ZEROPOINT_UNROLL
      for (size_t i = 0; i < kSide; ++i) {
        ZEROPOINT_UNROLL
        for (size_t j = 0; j < kSide; ++j) in[j] = load(sums + (kSide * i + j) * position_size);
        Transform::sums(in, out);
        ZEROPOINT_UNROLL
        for (int j = 0; j < kTile; ++j) halves[j][i] = out[j];
      }
      ZEROPOINT_UNROLL
      for (int j = 0; j < kTile; ++j) {
        Transform::sums(halves[j], out);
        ZEROPOINT_UNROLL
        for (int i = 0; i < kTile; ++i) {
          const auto scaled = (SignedDwords)Transform::descale(out[i], centre);
          pixels[i][j] = (Dwords)(scaled >> Transform::kScaleBits) + bias;
        }
      }
    }

    // Calls write(pixels, pixel, rows, columns) for each tile, with its accumulators plus `offset`,
    // the number of its first pixel, and how many of its rows and columns lie in the image.
    template <typename Write>
    ZEROPOINT_INLINE void for_each_tile(uint32_t offset, const Write& write) const {
      const Image& image = args.image;
      const int tile_columns = tiles_across(image);
      int y = static_cast<int>(first / tile_columns) * kTile;
      int x = static_cast<int>(first % tile_columns) * kTile;
      for (int64_t t = 0; t < count; ++t) {
        Pixels pixels;
        for (size_t v = 0; v < kVectors; ++v) {
          transform(sums + static_cast<size_t>(t) * kNr + v * kLanes, position_size,
                    load(header.bias + v * kLanes) + offset, load(header.centre + v * kLanes),
                    pixels[v]);
        }
        const int rows = image.out_height - y, width = image.out_width - x;
        write(pixels, static_cast<ptrdiff_t>(y) * image.out_width + x, rows < kTile ? rows : kTile,
              width < kTile ? width : kTile);
        x += kTile;
        if (x >= image.out_width) {
          x = 0;
          y += kTile;
        }
      }
    }

    static ZEROPOINT_INLINE Dwords load(const int32_t* p) {
      Dwords v;
      std::memcpy(&v, p, sizeof v);
      return v;
    }
  };

  static void run(const RunArgs& args) {
    const size_t depth = padded_depth(args.depth), pairs = pairs_of(args.depth);
    const size_t at_once = tiles_at_once(args.depth);
    auto* transforms = static_cast<int16_t*>(args.scratch);
    auto* sums = reinterpret_cast<int32_t*>(transforms + kPositions * at_once * depth);

    const int64_t total = args.tile_end - args.tile_begin;
    const int64_t blocks =
        (total + static_cast<int64_t>(at_once) - 1) / static_cast<int64_t>(at_once);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = args.tile_begin + total * block / blocks;
      const int64_t count = args.tile_begin + total * (block + 1) / blocks - first;
      transform_inputs(args, first, count, at_once, transforms);
      const auto* panel = static_cast<const uint8_t*>(args.packed);
      const int64_t groups = (count + Level::kMr - 1) / Level::kMr;  // of nearly equal height
      for (int n0 = 0; n0 < args.n; n0 += kNr, panel += panel_bytes(args.depth)) {
        const uint8_t* weights = panel + sizeof(PanelHeader);
        for (size_t i = 0; i < kPositions; ++i, weights += position_bytes(args.depth)) {
          for (int64_t g = 0; g < groups; ++g) {
            const auto begin = static_cast<size_t>(count * g / groups);
            const auto end = static_cast<size_t>(count * (g + 1) / groups);
            Level::kMultiply[end - begin - 1](transforms + (i * at_once + begin) * depth, depth,
                                              pairs, weights, sums + (i * at_once + begin) * kNr);
          }
        }
        const auto& header = *reinterpret_cast<const PanelHeader*>(panel);
        const int columns = args.n - n0 < kNr ? args.n - n0 : kNr;
        Level::finish(Panel{args, header, sums, at_once * kNr, n0, columns, first, count});
      }
    }
  }

  static constexpr Kernel kernel(const char* name, TileCost cost) {
    return {name, Level::kIsa,   kTile, Transform::kMaxMagnitude, cost, packed_bytes,
            pack, scratch_bytes, run};
  }
};

}  // namespace
}  // namespace zeropoint::winograd_s8
