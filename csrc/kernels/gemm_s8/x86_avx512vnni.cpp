// gemm_s8 for AVX-512 VNNI: vpdpbusd (u8 x s8, four products summed into s32 without saturation).
//
// Tile: up to 6x64; where the last panel is narrower, up to 8x48, 14x32 or 16x16, all with at
// most 28 accumulators. A step of K takes 4 bytes of each row, broadcast from the row itself
// (A is never copied: a tile gets pointers to the runs of its rows), and one vector of B per 16
// columns. M is cut into tiles of nearly equal height, so 49 rows are 4 x 6 + 5 x 5, not 8 x 6 + 1.
// In panels of 64, tiles of 3x64 take turns, so that the requantization of one runs beside the dot
// products of the next.
//
// Bound: the caller proved sum|w| * 255 + |bias| < 2^31, so no partial sum wraps.
#include "kernels/gemm_s8/avx512_pairs.h"
#include "kernels/gemm_s8/avx512_panels.h"
#include "kernels/gemm_s8/avx512_tiles.h"
#include "kernels/gemm_s8/gemm_s8_kernels.h"

namespace zeropoint::gemm_s8 {
namespace {

// Panels swept by one tile of A before the next tile: what stays in the second-level cache.
constexpr size_t kBlockBytes = 512 * 1024;
// Where all rows of A are no more than this, each panel is swept by all of them before the next
// one: while it is at work, the next arrives from memory.
constexpr size_t kRowsBytes = 256 * 1024;

// Requantizes the raw sums of a tile one by one: for multipliers so large that products with them
// may leave int32, which no sensible model has.
void finish_unbounded(const RunArgs& args, const Tile& tile, int width, int height, int columns) {
  const auto* multiplier = reinterpret_cast<const float*>(tile.panel) + width;
  const Residual& residual = args.residual;
  for (int r = 0; r < height; ++r) {
    for (int j = 0; j < columns; ++j) {
      const float m = multiplier[stored_column(static_cast<size_t>(width), static_cast<size_t>(j))];
      act_t q = requantize(tile.c_s32[r * tile.c_stride + j], m, args.clamp);
      if (tile.residual != nullptr) {
        q = add(q, args.clamp.zero_point, residual.multiplier_c,
                tile.residual[r * residual.stride + j], residual.zero_point, residual.multiplier,
                residual.clamp);
      }
      tile.c[r * args.c_stride + j] = q;
    }
  }
}

// Pairs of tiles to begin with. None where few rows leave one or two behind, which cannot keep the
// dot products busy, and K is long: tiles of equal height are faster then.
int64_t whole_pairs(int64_t rows, size_t steps) {
  constexpr int64_t kFewRows = 100;
  constexpr size_t kManySteps = 256;
  const int64_t rest = rows % (2 * kPairRows);
  const bool tail = rest == 1 || rest == 2;
  return tail && rows < kFewRows && steps > kManySteps ? 0 : rows / (2 * kPairRows);
}

// All rows of the call by the panels that start at columns n_begin, n_begin + 64, ... < n_end,
// which have one width. Tiles of A go outside, so a tile's rows stay in the first-level cache.
void run_panels(const RunArgs& args, int n_begin, int n_end) {
  const int width = panel_width(args.n, n_begin);
  const TileSet& set = kTileSets[width / kLanes - 1];
  const size_t stride = panel_bytes(kPanel, k_steps(args.a.taps, args.a.depth));
  const uint8_t* packed = static_cast<const uint8_t*>(args.packed);
  const bool unbounded = args.c_s32 == nullptr && !reinterpret_cast<const Header*>(packed)->bounded;
  const uint8_t* first_panel =
      packed + sizeof(Header) + static_cast<size_t>(n_begin / kPanel) * stride;
  const auto block_bytes =
      static_cast<ptrdiff_t>(static_cast<size_t>(n_end - n_begin + kPanel - 1) / kPanel * stride);
  int64_t m = args.m_begin;
  const int64_t pairs = whole_pairs(args.m_end - m, k_steps(args.a.taps, args.a.depth));
  if (pairs > 0 && width == kPanel && n_end % kPanel == 0 && args.c_s32 == nullptr && !unbounded) {
    const ptrdiff_t next_block = n_end < args.n_end ? block_bytes : 0;
    const auto run = args.residual.data != nullptr ? run_pairs<true> : run_pairs<false>;
    run(args, pairs, first_panel, (n_end - n_begin) / kPanel, n_begin, next_block);
    m += pairs * 2 * kPairRows;
  }
  if (m == args.m_end) return;
  const int64_t begin = m;
  const int64_t rows = args.m_end - begin;
  const int64_t tiles = (rows + set.max_height - 1) / set.max_height;
  const act_t** runs = static_cast<const act_t**>(args.scratch);
  int32_t sums[kMaxSums];
  const RowConstants shared = row_constants(args.clamp, args.residual);
  Tile tile;
  tile.a = runs;
  tile.taps = args.a.taps;
  tile.depth = args.a.depth;
  tile.c = nullptr;
  tile.c_s32 = unbounded ? sums : nullptr;
  tile.c_stride = unbounded ? width : args.c_stride;
  tile.residual = nullptr;
  tile.residual_stride = args.residual.stride;
  tile.constants = &shared;
  for (int64_t i = 0; i < tiles; ++i) {
    tile.ahead = pairs == 0 && n_end < args.n_end ? ahead(i, tiles, block_bytes) : 0;
    const int height = static_cast<int>(begin + rows * (i + 1) / tiles - m);
    find_runs(args.a, m, height, runs);
    tile.panel = first_panel;
    for (int n0 = n_begin; n0 < n_end; n0 += kPanel, tile.panel += stride) {
      const int columns = n_end - n0;
      tile.whole = columns >= width;
      tile.mask = columns >= kPanel ? ~__mmask64{0} : (__mmask64{1} << columns) - 1;
      if (args.c_s32 != nullptr) {
        tile.c_s32 = args.c_s32 + m * args.c_stride + n0;
      } else {
        tile.c = args.c + m * args.c_stride + n0;
      }
      if (args.residual.data != nullptr) {
        tile.residual = args.residual.data + m * args.residual.stride + n0;
      }
      set.by_height[height - 1](tile);
      if (unbounded) finish_unbounded(args, tile, width, height, columns < width ? columns : width);
    }
    m += height;
  }
}

void run(const RunArgs& args) {
  if (args.m_begin >= args.m_end) return;
  const size_t bytes = panel_bytes(kPanel, k_steps(args.a.taps, args.a.depth));
  const size_t a_bytes =
      static_cast<size_t>(args.m_end - args.m_begin) * static_cast<size_t>(args.a.depth);
  const size_t b_bytes = static_cast<size_t>(args.n_end - args.n_begin) / kPanel * bytes;
  const bool by_panel = bytes >= kBlockBytes || (a_bytes <= kRowsBytes && b_bytes > kRowsBytes);
  const size_t panels = by_panel ? 1 : kBlockBytes / bytes;
  const int full_end =
      args.n_end < args.n / kPanel * kPanel ? args.n_end : args.n / kPanel * kPanel;
  int n0 = args.n_begin;
  while (n0 < full_end) {
    const size_t left = static_cast<size_t>(full_end - n0 + kPanel - 1) / kPanel;
    const size_t take = left < panels ? left : panels;
    const int end = n0 + static_cast<int>(take) * kPanel;
    run_panels(args, n0, end < full_end ? end : full_end);
    n0 = end;
  }
  if (n0 < args.n_end) run_panels(args, n0, args.n_end);
}

constexpr Kernel kKernels[] = {
    {"gemm_s8_6x64_avx512vnni", Isa::avx512vnni, nullptr, packed_bytes, pack, scratch_bytes, run, 6,
     kPanel},
};

}  // namespace

KernelSpan<Kernel> x86_avx512vnni_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::gemm_s8
