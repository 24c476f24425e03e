// How gemm_s8 for AVX2 packs its weights: which activations are multiplied together without
// saturation. For ISA files only.
//
// vpmaddubsw sums two products u8 x s8 in s16, and saturates. Its sum is exact if the positive
// weights of the pair sum up to at most 128, and the negative ones to at least -128: 255 * 128 fits
// s16. Weights of a well-scaled layer often do; where they do not, an activation x is replaced by
// its complement 255 - x, which takes the weight -w:
//   w * x = 255 * w + (-w) * (255 - x);   255 * w is added to the bias.
// Two products whose weights have opposite signs never saturate. So for each panel of 16 columns,
// and each group of four rows of K (the dword that is broadcast), one of four kinds of steps is
// chosen when the weights are packed:
//   joined         two groups with four products in each s16 sum; of each group, either the
//                  activations as they are or with every other one complemented (both are kept)
//   joined_masked  as well, but the first group's complements are chosen for each column and
//                  weight, by a mask that is xor-ed to the activations
//   masked         one group, with such a mask
//   wide           one group with weights that not even this helps (pairs of -128): 16-bit products
// Weights for one run only are not worth the search: each group is a step of its own. The time of a
// few rows is that of reading the weights: there, no masks, whose bytes would be read as well.
// The order of K is the panel's own: each step names where its groups start in a row.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <new>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/inlining.h"
#include "kernels/rows_avx2.h"

namespace zeropoint::gemm_s8 {
namespace {

constexpr int kMr = 6;
constexpr int kNr = kRowColumns;
constexpr size_t kGroupBytes = 4 * kNr;  // weights of a group

// What precedes the panels; after it, where each chunk of each panel starts, and the end, as
// uint64.
struct alignas(64) PackedHeader {
  int32_t complemented;  // does any group take every other activation's complement?
  uint64_t bytes;        // of all that is packed
};

enum Step { kJoined, kJoinedMasked, kMasked, kWide, kSteps };

// Starts a chunk of a panel. After it: a uint32 for each group, where it starts in a row's slice,
// padded to 64 bytes; then for each step, for each vector of 8 columns: the group's weights, those
// of the joined one, the mask.
struct alignas(64) PanelHeader {
  int32_t bias[kNr];
  float multiplier[kNr];  // in the last chunk, with what follows from them
  int32_t steps[kSteps];
  RowBounds bounds;  // of the panel's sums
};

size_t group_count(int taps, int depth) {
  return (static_cast<size_t>(taps) * static_cast<size_t>(depth) + 3) / 4;
}

// Distance between the rows of a slice of A: no power of two, and room to copy 32 bytes at a time.
size_t slice_stride(int taps, int depth) {
  return ((group_count(taps, depth) * 4 + 32 + 63) / 64 | 1) * 64;
}

// A long K is cut into chunks of which a slice stays in the first-level cache while the panels of
// a block pass by: their steps take its groups in no order.
constexpr size_t kMaxChunkGroups = 512;

size_t chunk_count(int taps, int depth) {
  return (group_count(taps, depth) + kMaxChunkGroups - 1) / kMaxChunkGroups;
}

size_t chunk_begin(int taps, int depth, size_t chunk) {
  return group_count(taps, depth) * chunk / chunk_count(taps, depth);
}

// Tiles of rows in a slice of A: what stays in the first-level cache beside a panel, so that the
// panel's constants, and what a processor learns of its steps, serve them all. Packed weights
// depend on it: they tell where complements start.
int slice_tiles(int taps, int depth) {
  constexpr size_t kSliceBytes = 12 * 1024, kMost = 16;
  if (chunk_count(taps, depth) > 1) return 1;
  const size_t tiles = kSliceBytes / (kMr * slice_stride(taps, depth));
  return static_cast<int>(tiles < 1 ? 1 : tiles > kMost ? kMost : tiles);
}

// The activations of a slice's rows; then their complements, of every other one.
size_t slice_bytes(int taps, int depth) {
  return static_cast<size_t>(slice_tiles(taps, depth)) * kMr * slice_stride(taps, depth);
}

// Groups of the longest chunk.
size_t chunk_groups(int taps, int depth) {
  const size_t chunks = chunk_count(taps, depth);
  return (group_count(taps, depth) + chunks - 1) / chunks;
}

// Are there so few rows that masks take longer to read than they save? Four if the weights come
// from memory.
bool few_rows(const PackArgs& args) {
  const int64_t weights = int64_t{args.n} * args.taps * args.depth;
  return args.m == 1 || (args.m > 1 && args.m <= 4 && weights > 4 << 20);
}

size_t starts_bytes(size_t groups) { return (groups * sizeof(uint32_t) + 63) / 64 * 64; }

// Of the longest chunk of a panel, at most: how many masks there are is up to the weights.
size_t chunk_bytes(int taps, int depth) {
  const size_t groups = chunk_groups(taps, depth);
  return sizeof(PanelHeader) + starts_bytes(groups) + groups * 2 * kGroupBytes;
}

size_t table_bytes(int n, int taps, int depth) {
  const size_t panels = (static_cast<size_t>(n) + kNr - 1) / kNr;
  return ((panels * chunk_count(taps, depth) + 1) * sizeof(uint64_t) + 63) / 64 * 64;
}

size_t packed_bytes(int n, int taps, int depth) {
  const size_t panels = (static_cast<size_t>(n) + kNr - 1) / kNr;
  return sizeof(PackedHeader) + table_bytes(n, taps, depth) +
         panels * chunk_count(taps, depth) * chunk_bytes(taps, depth);
}

inline bool all_set(__m256i v) { return _mm256_movemask_epi8(v) == -1; }
inline __m256i at_most_128(__m256i v) {
  const __m256i limit = _mm256_set1_epi8(static_cast<char>(128));
  return _mm256_cmpeq_epi8(_mm256_max_epu8(v, limit), limit);
}

// The magnitudes of a pair's positive and negative weights, summed; one byte for each pair of the
// group's 64 weights, saturating.
struct Sums {
  __m256i positive, negative;
};

// The four weights of each of 16 columns.
struct alignas(32) Group {
  int8_t weights[kGroupBytes];
  uint8_t positive[2][32], negative[2][32];  // [with complements of every other activation]

  Sums sums(int complemented) const {
    return {load_256(positive[complemented]), load_256(negative[complemented])};
  }
  bool safe(int complemented) const {
    const Sums s = sums(complemented);
    return all_set(at_most_128(_mm256_max_epu8(s.positive, s.negative)));
  }
};

inline __m256i every_other_byte() { return _mm256_set1_epi16(static_cast<short>(0xFF00)); }

// Sums over pairs of 64 unsigned bytes.
inline __m256i pair_sums(__m256i first, __m256i second) {
  const __m256i ones = _mm256_set1_epi8(1);
  return _mm256_packus_epi16(_mm256_maddubs_epi16(first, ones), _mm256_maddubs_epi16(second, ones));
}

// Fills in the sums; returns the largest of |w0| + |w1|. A complement takes the weight -w, which
// -128 does not have: its magnitude counts as 255.
inline int analyse(Group& group) {
  __m256i positive[2], negative[2], p[2], n[2];
  const __m256i odd = every_other_byte(), zero = _mm256_setzero_si256();
  for (int v = 0; v < 2; ++v) {
    const __m256i w = load_256(group.weights + 32 * v);
    positive[v] = _mm256_max_epi8(w, zero);
    negative[v] = _mm256_abs_epi8(_mm256_min_epi8(w, zero));
    const __m256i lowest = _mm256_cmpeq_epi8(w, _mm256_set1_epi8(-128));
    p[v] = _mm256_blendv_epi8(positive[v], _mm256_or_si256(negative[v], lowest), odd);
    n[v] = _mm256_blendv_epi8(negative[v], positive[v], odd);
  }
  const __m256i plus = pair_sums(positive[0], positive[1]);
  const __m256i minus = pair_sums(negative[0], negative[1]);
  store_256(group.positive[0], plus);
  store_256(group.negative[0], minus);
  store_256(group.positive[1], pair_sums(p[0], p[1]));
  store_256(group.negative[1], pair_sums(n[0], n[1]));
  alignas(32) uint8_t loads[32];
  store_256(loads, _mm256_adds_epu8(plus, minus));
  int most = 0;
  for (const uint8_t load : loads) most = load > most ? load : most;
  return most;
}

// Whether two groups can be joined; if so, with which of their complements.
inline bool joinable(const Group& a, const Group& b, int* complement_a, int* complement_b) {
  for (int i = 0; i < 2; ++i) {
    const Sums x = a.sums(i);
    for (int j = 0; j < 2; ++j) {
      const Sums y = b.sums(j);
      const __m256i most = _mm256_max_epu8(_mm256_adds_epu8(x.positive, y.positive),
                                           _mm256_adds_epu8(x.negative, y.negative));
      if (all_set(at_most_128(most))) {
        *complement_a = i;
        *complement_b = j;
        return true;
      }
    }
  }
  return false;
}

// Finds for each weight of the group the sign that it shall have so that no pair saturates when it
// is summed with a pair of `other`. Returns whether there is such a choice; `negative` then has a
// byte of ones for each weight that shall be negative.
inline bool choose_signs(const Group& group, const Sums& other, __m256i* negative) {
  const __m256i low_byte = _mm256_set1_epi16(0xFF);
  __m256i even[2], odd[2];
  for (int v = 0; v < 2; ++v) {
    const __m256i magnitude = _mm256_abs_epi8(load_256(group.weights + 32 * v));
    even[v] = _mm256_and_si256(magnitude, low_byte);
    odd[v] = _mm256_srli_epi16(magnitude, 8);
  }
  const __m256i a = _mm256_packus_epi16(even[0], even[1]);
  const __m256i b = _mm256_packus_epi16(odd[0], odd[1]);
  // There is no +128.
  const __m256i lowest = _mm256_set1_epi8(-128);
  const __m256i a_plus = _mm256_or_si256(a, _mm256_cmpeq_epi8(a, lowest));
  const __m256i b_plus = _mm256_or_si256(b, _mm256_cmpeq_epi8(b, lowest));
  const auto fits = [&](__m256i positive, __m256i minus) ZEROPOINT_LAMBDA {
    return at_most_128(_mm256_max_epu8(_mm256_adds_epu8(other.positive, positive),
                                       _mm256_adds_epu8(other.negative, minus)));
  };
  const __m256i zero = _mm256_setzero_si256();
  const __m256i odd_negative = fits(a_plus, b);
  const __m256i even_negative = fits(b_plus, a);
  const __m256i none_negative = fits(_mm256_adds_epu8(a_plus, b_plus), zero);
  const __m256i both_negative = fits(zero, _mm256_adds_epu8(a, b));
  if (!all_set(_mm256_or_si256(_mm256_or_si256(odd_negative, even_negative),
                               _mm256_or_si256(none_negative, both_negative)))) {
    return false;
  }
  // The first that fits, in this order.
  const __m256i second = _mm256_andnot_si256(odd_negative, even_negative);
  const __m256i first_two = _mm256_or_si256(odd_negative, second);
  const __m256i last =
      _mm256_andnot_si256(_mm256_or_si256(first_two, none_negative), both_negative);
  const __m256i evens = _mm256_or_si256(second, last);
  const __m256i odds = _mm256_or_si256(odd_negative, last);
  negative[0] = _mm256_unpacklo_epi8(evens, odds);
  negative[1] = _mm256_unpackhi_epi8(evens, odds);
  return true;
}

// Packs one panel after the other, in memory of its own.
class PanelPacker {
 public:
  PanelPacker(int taps, int depth)
      : depth_(depth), taps_(taps), complements_(static_cast<uint32_t>(slice_bytes(taps, depth))) {
    const size_t count = chunk_groups(taps, depth);
    groups_ = static_cast<Group*>(::operator new(count * (sizeof(Group) + 3 * sizeof(int)),
                                                 std::align_val_t{alignof(Group)}));
    order_ = reinterpret_cast<int*>(groups_ + count);
    before_ = order_ + count;
    after_ = before_ + count;
  }
  ~PanelPacker() { ::operator delete(groups_, std::align_val_t{alignof(Group)}); }
  PanelPacker(const PanelPacker&) = delete;
  PanelPacker& operator=(const PanelPacker&) = delete;

  // Writes the chunks of a panel from `out` on, and where they start, counted from `packed`.
  // Returns their end.
  uint8_t* pack(const PackArgs& args, int n0, const uint8_t* packed, uint64_t* table,
                uint8_t* out) {
    const int columns = args.n - n0 < kNr ? args.n - n0 : kNr;
    const size_t chunks = chunk_count(taps_, depth_);
    out_ = out;
    for (size_t chunk = 0; chunk < chunks; ++chunk) {
      table[chunk] = static_cast<uint64_t>(out_ - packed);
      begin_ = chunk_begin(taps_, depth_, chunk);
      count_ = static_cast<int>(chunk_begin(taps_, depth_, chunk + 1) - begin_);
      gather(args, n0, columns);
      if (!args.once) sort_by_load();
      header_ = reinterpret_cast<PanelHeader*>(out_);
      start_ = reinterpret_cast<uint32_t*>(out_ + sizeof(PanelHeader));
      const size_t head = sizeof(PanelHeader) + starts_bytes(chunk_groups(taps_, depth_));
      std::memset(out_, 0, head);
      out_ += head;
      flipped_[0] = flipped_[1] = _mm256_setzero_si256();
      if (args.once) {
        choose_masked_in_order();
      } else {
        choose_joined();
        if (!few_rows(args)) {
          choose_joined_masked();
          choose_masked();
        }
        choose_wide();
      }
      add_bias(args, n0, chunk == 0 ? columns : 0);
    }
    finish(args, n0, columns);
    return out_;
  }

  // Does any group that has been packed take every other activation's complement?
  bool complemented() const { return complemented_; }

 private:
  // A bounded search: candidates that are tried for a group.
  static constexpr int kTries = 64;

  void gather(const PackArgs& args, int n0, int columns) {
    const size_t k = static_cast<size_t>(taps_) * static_cast<size_t>(depth_);
    if (columns < kNr || k % 4 != 0) {
      for (int i = 0; i < count_; ++i) std::memset(groups_[i].weights, 0, kGroupBytes);
    }
    const size_t begin = begin_ * 4, end = begin + static_cast<size_t>(count_) * 4;
    for (int j = 0; j < columns; ++j) {
      const int8_t* from = args.weights + static_cast<size_t>(n0 + j) * k;
      Group* group = groups_;
      size_t i = begin;
      for (; i + 4 <= k && i < end; i += 4, ++group) {
        std::memcpy(group->weights + 4 * j, from + i, 4);
      }
      if (i < end) std::memcpy(group->weights + 4 * j, from + i, k - i);
    }
  }

  // Heaviest first, in a list from which groups are taken out.
  void sort_by_load() {
    int begin[257] = {};
    for (int i = 0; i < count_; ++i) ++begin[255 - (before_[i] = analyse(groups_[i])) + 1];
    for (int load = 0; load < 256; ++load) begin[load + 1] += begin[load];
    for (int i = 0; i < count_; ++i) order_[begin[255 - before_[i]]++] = i;
    for (int r = 0; r < count_; ++r) {
      before_[r] = r - 1;
      after_[r] = r + 1 < count_ ? r + 1 : -1;
    }
    first_ = 0;
    last_ = count_ - 1;
  }

  void take(int rank) {
    const int before = before_[rank], after = after_[rank];
    (before < 0 ? first_ : after_[before]) = after;
    (after < 0 ? last_ : before_[after]) = before;
  }
  const Group& group(int rank) const { return groups_[order_[rank]]; }

  void add_start(int rank, int complement) {
    add_group_start(order_[rank], complement != 0 ? complements_ : 0);
    complemented_ = complemented_ || complement != 0;
  }
  void add_group_start(int i, uint32_t offset) {
    *start_++ = (static_cast<uint32_t>(begin_) + static_cast<uint32_t>(i)) * 4 + offset;
  }

  // The weights of a vector with the signs of those in `flip` changed, which their activations'
  // complements make up for.
  __m256i flip_signs(const Group& group, int v, __m256i flip) {
    const __m256i w = load_256(group.weights + 32 * v);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_and_si256(w, flip));
    flipped_[v] = _mm256_add_epi32(flipped_[v], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    return _mm256_sub_epi8(_mm256_xor_si256(w, flip), flip);
  }

  __m256i complement_flip(int complement) const {
    return complement != 0 ? every_other_byte() : _mm256_setzero_si256();
  }

  void emit(__m256i v) {
    store_256(out_, v);
    out_ += sizeof(v);
  }

  void emit_masked(const Group& group, int v, __m256i negative, __m256i* mask) {
    const __m256i w = load_256(group.weights + 32 * v);
    *mask = _mm256_xor_si256(_mm256_cmpgt_epi8(_mm256_setzero_si256(), w), negative);
    emit(flip_signs(group, v, *mask));
  }

  // Takes two groups from the list; returns the first that is left after `heavy`.
  int take_both(int heavy, int light) {
    const int next = after_[heavy] == light ? after_[light] : after_[heavy];
    take(heavy);
    take(light);
    return next;
  }

  // The heaviest groups look for the lightest that they can be joined with.
  void choose_joined() {
    for (int heavy = first_; heavy >= 0;) {
      int light = last_, complement[2] = {};
      int tries = group(heavy).safe(0) || group(heavy).safe(1) ? kTries : 0;
      for (; tries > 0 && light != heavy; --tries, light = before_[light]) {
        if (joinable(group(heavy), group(light), &complement[0], &complement[1])) break;
      }
      if (tries == 0 || light == heavy) {
        heavy = after_[heavy];
        continue;
      }
      for (int v = 0; v < 2; ++v) {
        emit(flip_signs(group(heavy), v, complement_flip(complement[0])));
        emit(flip_signs(group(light), v, complement_flip(complement[1])));
      }
      add_start(heavy, complement[0]);
      add_start(light, complement[1]);
      ++header_->steps[kJoined];
      heavy = take_both(heavy, light);
    }
  }

  void choose_joined_masked() {
    for (int heavy = first_; heavy >= 0;) {
      int light = last_, complement = 0, tries = kTries;
      __m256i negative[2] = {};
      for (; tries > 0 && light != heavy; --tries, light = before_[light]) {
        complement = 0;
        if (choose_signs(group(heavy), group(light).sums(0), negative)) break;
        complement = 1;
        if (choose_signs(group(heavy), group(light).sums(1), negative)) break;
      }
      if (tries == 0 || light == heavy) {
        heavy = after_[heavy];
        continue;
      }
      for (int v = 0; v < 2; ++v) {
        __m256i mask;
        emit_masked(group(heavy), v, negative[v], &mask);
        emit(flip_signs(group(light), v, complement_flip(complement)));
        emit(mask);
      }
      add_start(heavy, 0);
      add_start(light, complement);
      ++header_->steps[kJoinedMasked];
      heavy = take_both(heavy, light);
    }
  }

  void choose_masked() {
    for (int rank = first_; rank >= 0; rank = after_[rank]) {
      if (add_masked(order_[rank])) take(rank);
    }
  }

  // What is left.
  void choose_wide() {
    for (int rank = first_; rank >= 0; rank = after_[rank]) add_wide(order_[rank]);
  }

  // All groups, without a search.
  void choose_masked_in_order() {
    int left = 0;
    for (int i = 0; i < count_; ++i) {
      if (!add_masked(i)) order_[left++] = i;
    }
    for (int i = 0; i < left; ++i) add_wide(order_[i]);
  }

  // Is there a mask for the group?
  bool add_masked(int i) {
    const Sums none = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i negative[2] = {};
    if (!choose_signs(groups_[i], none, negative)) return false;
    for (int v = 0; v < 2; ++v) {
      __m256i mask;
      emit_masked(groups_[i], v, negative[v], &mask);
      emit(mask);
    }
    add_group_start(i, 0);
    ++header_->steps[kMasked];
    return true;
  }

  void add_wide(int i) {
    for (int v = 0; v < 2; ++v) emit(load_256(groups_[i].weights + 32 * v));
    add_group_start(i, 0);
    ++header_->steps[kWide];
  }

  // The bias of the first `columns` columns, and what complements need.
  void add_bias(const PackArgs& args, int n0, int columns) {
    std::memcpy(header_->bias, args.bias + n0, static_cast<size_t>(columns) * sizeof(int32_t));
    for (int v = 0; v < 2; ++v) {
      int32_t* bias = header_->bias + 8 * v;
      const __m256i sum = _mm256_mullo_epi32(flipped_[v], _mm256_set1_epi32(kActMax));
      store_256(bias, _mm256_add_epi32(load_256(bias), sum));
    }
  }

  // What the last chunk needs for the epilogue.
  void finish(const PackArgs& args, int n0, int columns) {
    if (args.multiplier == nullptr) return;
    const size_t k = static_cast<size_t>(taps_) * static_cast<size_t>(depth_);
    std::memcpy(header_->multiplier, args.multiplier + n0,
                static_cast<size_t>(columns) * sizeof(float));
    header_->bounds = RowBounds{};
    for (int n = n0; n < n0 + columns; ++n) {
      header_->bounds.add_column(args.weights + static_cast<size_t>(n) * k, k, args.bias[n],
                                 args.multiplier[n]);
    }
  }

  const int depth_, taps_;
  const uint32_t complements_;  // where a slice has them
  Group* groups_;
  // The list: groups by rank, the heaviest first; ranks before and after, or -1.
  int *order_, *before_, *after_;
  int first_ = -1, last_ = -1;
  // Of the chunk of a panel at hand.
  size_t begin_ = 0;  // its first group
  int count_ = 0;
  PanelHeader* header_ = nullptr;
  uint32_t* start_ = nullptr;
  uint8_t* out_ = nullptr;
  __m256i flipped_[2];  // for each column, the sum of the weights whose sign has been changed
  bool complemented_ = false;
};

void pack(const PackArgs& args, void* packed) {
  auto* const base = static_cast<uint8_t*>(packed);
  auto* table = reinterpret_cast<uint64_t*>(base + sizeof(PackedHeader));
  const size_t head = sizeof(PackedHeader) + table_bytes(args.n, args.taps, args.depth);
  std::memset(base, 0, head);
  uint8_t* out = base + head;
  PanelPacker packer(args.taps, args.depth);
  for (int n0 = 0; n0 < args.n; n0 += kNr, table += chunk_count(args.taps, args.depth)) {
    out = packer.pack(args, n0, base, table, out);
  }
  auto& header = *reinterpret_cast<PackedHeader*>(base);
  header.complemented = packer.complemented() ? 1 : 0;
  header.bytes = static_cast<uint64_t>(out - base);
  *table = header.bytes;
}

size_t used_bytes(const void* packed) { return static_cast<const PackedHeader*>(packed)->bytes; }

}  // namespace
}  // namespace zeropoint::gemm_s8
