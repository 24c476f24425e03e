#include "ops/strided_copy.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "ops/plan.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace zeropoint {
namespace {

// Rows of a plane that one item turns around; more of them where they are short.
constexpr int64_t kStrip = 64, kNarrowStrip = 1024;

// Copies `count` blocks of a size known when compiling.
template <size_t bytes>
void copy_fixed(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * to_stride, from + i * from_stride, bytes);
  }
}

void copy_blocks(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t count,
                 int64_t bytes) {
  switch (bytes) {
    case 1:
      return copy_fixed<1>(from, from_stride, to, to_stride, count);
    case 2:
      return copy_fixed<2>(from, from_stride, to, to_stride, count);
    case 3:
      return copy_fixed<3>(from, from_stride, to, to_stride, count);
    case 4:
      return copy_fixed<4>(from, from_stride, to, to_stride, count);
    case 8:
      return copy_fixed<8>(from, from_stride, to, to_stride, count);
    case 12:
      return copy_fixed<12>(from, from_stride, to, to_stride, count);
    case 16:
      return copy_fixed<16>(from, from_stride, to, to_stride, count);
    default:
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(to + i * to_stride, from + i * from_stride, static_cast<size_t>(bytes));
      }
  }
}

// One row of the source becomes one column of the destination, for each of rows x columns; a row's
// elements are contiguous in the source, a column's in the destination.
template <size_t bytes>
void turn_scalar(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t rows,
                 int64_t columns) {
  constexpr auto kBytes = static_cast<int64_t>(bytes);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      std::memcpy(to + r * to_stride + c * kBytes, from + c * from_stride + r * kBytes, bytes);
    }
  }
}

// The same for few columns (images of 3 channels), with their number known when compiling.
template <size_t bytes, int64_t columns>
void turn_columns(const char* from, int64_t from_stride, char* to, int64_t to_stride,
                  int64_t rows) {
  constexpr auto kBytes = static_cast<int64_t>(bytes);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      std::memcpy(to + r * to_stride + c * kBytes, from + c * from_stride + r * kBytes, bytes);
    }
  }
}

// Three columns of bytes that lie side by side in the destination (an image's planes into pixels),
// 16 rows at a time; returns how many rows are done.
int64_t turn_pixels([[maybe_unused]] const char* from, [[maybe_unused]] int64_t from_stride,
                    [[maybe_unused]] char* to, [[maybe_unused]] int64_t rows) {
  int64_t r = 0;
#if defined(__SSE2__)
  const __m128i first = _mm_set1_epi64x(0xFFFFFF);
  const __m128i second = _mm_set1_epi64x(0xFFFFFF000000);
  // Stores are of 8 bytes, of which the next one overwrites two: a row more must follow.
  for (; r + 16 < rows; r += 16) {
    const auto load = [&](int64_t c) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + c * from_stride + r));
    };
    const __m128i x = load(0), y = load(1), z = load(2), zero = _mm_setzero_si128();
    const __m128i xy[2] = {_mm_unpacklo_epi8(x, y), _mm_unpackhi_epi8(x, y)};
    const __m128i z0[2] = {_mm_unpacklo_epi8(z, zero), _mm_unpackhi_epi8(z, zero)};
    for (int i = 0; i < 4; ++i) {
      // Four pixels of four bytes, the last of them 0; two of them become six bytes.
      const __m128i wide = i % 2 == 0 ? _mm_unpacklo_epi16(xy[i / 2], z0[i / 2])
                                      : _mm_unpackhi_epi16(xy[i / 2], z0[i / 2]);
      const __m128i packed =
          _mm_or_si128(_mm_and_si128(wide, first), _mm_and_si128(_mm_srli_epi64(wide, 8), second));
      char* out = to + (r + i * 4) * 3;
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), packed);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 6), _mm_srli_si128(packed, 8));
    }
  }
#elif defined(__aarch64__)
  for (; r + 16 <= rows; r += 16) {
    const auto load = [&](int64_t c) {
      return vld1q_u8(reinterpret_cast<const uint8_t*>(from + c * from_stride + r));
    };
    const uint8x16x3_t pixels = {{load(0), load(1), load(2)}};
    vst3q_u8(reinterpret_cast<uint8_t*>(to + r * 3), pixels);
  }
#endif
  return r;
}

template <size_t bytes>
void turn_narrow(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t rows,
                 int64_t columns) {
  if (bytes == 1 && columns == 3 && to_stride == 3) {
    const int64_t done = turn_pixels(from, from_stride, to, rows);
    from += done;
    to += done * to_stride;
    rows -= done;
  }
  switch (columns) {
    case 2:
      return turn_columns<bytes, 2>(from, from_stride, to, to_stride, rows);
    case 3:
      return turn_columns<bytes, 3>(from, from_stride, to, to_stride, rows);
    case 4:
      return turn_columns<bytes, 4>(from, from_stride, to, to_stride, rows);
    default:
      return turn_scalar<bytes>(from, from_stride, to, to_stride, rows, columns);
  }
}

// An 8 x 8 square of bytes, eight bytes a word: blocks of 4, then 2, then 1 change places.
// Little-endian, like every CPU that this library is built for.
inline void turn_8x8(const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  uint64_t w[8];
  for (int i = 0; i < 8; ++i) std::memcpy(&w[i], from + i * from_stride, 8);
  const auto exchange = [&w](int i, int j, int shift, uint64_t mask) {
    const uint64_t t = ((w[i] >> shift) ^ w[j]) & mask;
    w[j] ^= t;
    w[i] ^= t << shift;
  };
  for (int i : {0, 1, 2, 3}) exchange(i, i + 4, 32, 0x00000000FFFFFFFFull);
  for (int i : {0, 1, 4, 5}) exchange(i, i + 2, 16, 0x0000FFFF0000FFFFull);
  for (int i : {0, 2, 4, 6}) exchange(i, i + 1, 8, 0x00FF00FF00FF00FFull);
  for (int i = 0; i < 8; ++i) std::memcpy(to + i * to_stride, &w[i], 8);
}

void turn_bytes(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t rows,
                int64_t columns) {
  const int64_t whole_rows = rows / 8 * 8;
  const int64_t whole_columns = columns / 8 * 8;
  for (int64_t r = 0; r < whole_rows; r += 8) {
    for (int64_t c = 0; c < whole_columns; c += 8) {
      turn_8x8(from + c * from_stride + r, from_stride, to + r * to_stride + c, to_stride);
    }
  }
  turn_narrow<1>(from + whole_columns * from_stride, from_stride, to + whole_columns, to_stride,
                 whole_rows, columns - whole_columns);
  turn_scalar<1>(from + whole_rows, from_stride, to + whole_rows * to_stride, to_stride,
                 rows - whole_rows, columns);
}

// Squares of 16 keep both sides' cache lines in use.
template <size_t bytes>
void turn_squares(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t rows,
                  int64_t columns) {
  constexpr auto kBytes = static_cast<int64_t>(bytes);
  constexpr int64_t kSquare = 16;
  if (columns <= 4) return turn_narrow<bytes>(from, from_stride, to, to_stride, rows, columns);
  for (int64_t c = 0; c < columns; c += kSquare) {
    for (int64_t r = 0; r < rows; r += kSquare) {
      turn_scalar<bytes>(from + c * from_stride + r * kBytes, from_stride,
                         to + r * to_stride + c * kBytes, to_stride, std::min(kSquare, rows - r),
                         std::min(kSquare, columns - c));
    }
  }
}

}  // namespace

void turn_plane(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t rows,
                int64_t columns) {
  turn_bytes(static_cast<const char*>(from), from_stride, static_cast<char*>(to), to_stride, rows,
             columns);
}

std::vector<int64_t> dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

std::vector<int64_t> dense_strides(const Shape& shape, int64_t element_bytes) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()));
  int64_t stride = element_bytes;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = stride;
    stride = checked_mul(stride, std::max<int64_t>(shape[i], 1), "a tensor");
  }
  return strides;
}

StridedCopy::StridedCopy(const std::vector<int64_t>& sizes,
                         const std::vector<int64_t>& source_strides,
                         const std::vector<int64_t>& destination_strides, int64_t element_bytes)
    : block_(element_bytes) {
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) empty_ = true;
    if (sizes[i] == 1) continue;
    const Dim dim{sizes[i], source_strides[i], destination_strides[i]};
    if (!dims_.empty() && dims_.back().source == dim.source * dim.size &&
        dims_.back().destination == dim.destination * dim.size) {
      dims_.back() = {dims_.back().size * dim.size, dim.source, dim.destination};
    } else {
      dims_.push_back(dim);
    }
  }
  if (empty_) return;
  if (!dims_.empty() && dims_.back().source == block_ && dims_.back().destination == block_) {
    block_ *= dims_.back().size;
    dims_.pop_back();
  }
  if (dims_.empty() || dims_.back().destination != block_ ||
      (block_ != 1 && block_ != 4 && block_ != 8)) {
    return;
  }
  for (size_t i = 0; i + 1 < dims_.size(); ++i) {
    if (dims_[i].source == block_) {
      planes_ = true;
      rows_ = dims_[i];
      columns_ = dims_.back();
      dims_.pop_back();
      dims_.erase(dims_.begin() + static_cast<ptrdiff_t>(i));
      return;
    }
  }
}

StridedCopy::Place StridedCopy::place_of(const std::vector<Dim>& dims, int64_t index) {
  Place place{0, 0};
  for (size_t i = dims.size(); i-- > 0;) {
    const int64_t at = index % dims[i].size;
    index /= dims[i].size;
    place.source += at * dims[i].source;
    place.destination += at * dims[i].destination;
  }
  return place;
}

void StridedCopy::run(const void* source, void* destination, ThreadPool& pool) const {
  if (empty_) return;
  const char* from = static_cast<const char*>(source);
  char* to = static_cast<char*>(destination);
  if (planes_) {
    run_planes(from, to, pool);
  } else if (dims_.empty()) {
    run_block(from, to, pool);
  } else {
    run_runs(from, to, pool);
  }
}

void StridedCopy::run_block(const char* source, char* destination, ThreadPool& pool) const {
  pool.parallel_for(block_, grain_for(0.1), [&](int64_t begin, int64_t end, int) {
    std::memcpy(destination + begin, source + begin, static_cast<size_t>(end - begin));
  });
}

void StridedCopy::run_runs(const char* source, char* destination, ThreadPool& pool) const {
  const std::vector<Dim> outer(dims_.begin(), dims_.end() - 1);
  const Dim inner = dims_.back();
  int64_t blocks = inner.size;
  for (const Dim& dim : outer) blocks *= dim.size;
  const double cost = 1.0 + 0.1 * static_cast<double>(block_);
  pool.parallel_for(blocks, grain_for(cost), [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t at = begin % inner.size;
      const int64_t count = std::min(inner.size - at, end - begin);
      const Place place = place_of(outer, begin / inner.size);
      copy_blocks(source + place.source + at * inner.source, inner.source,
                  destination + place.destination + at * inner.destination, inner.destination,
                  count, block_);
      begin += count;
    }
  });
}

void StridedCopy::run_planes(const char* source, char* destination, ThreadPool& pool) const {
  const int64_t strip = columns_.size <= 4 ? kNarrowStrip : kStrip;
  const int64_t strips = ceil_div(rows_.size, strip);
  int64_t items = strips;
  for (const Dim& dim : dims_) items *= dim.size;
  const auto turn = block_ == 1 ? turn_bytes : block_ == 4 ? turn_squares<4> : turn_squares<8>;
  const double cost = 0.5 * static_cast<double>(std::min(rows_.size, strip) * columns_.size);
  pool.parallel_for(items, grain_for(cost), [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item % strips * strip;
      const Place place = place_of(dims_, item / strips);
      turn(source + place.source + row * block_, columns_.source,
           destination + place.destination + row * rows_.destination, rows_.destination,
           std::min(strip, rows_.size - row), columns_.size);
    }
  });
}

}  // namespace zeropoint
