// How kernels address the rows of an input without an im2col copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zeropoint {

// Row m of the (virtual) matrix A consists of `taps` runs of `depth` contiguous elements.
// Direct (offsets == nullptr, taps == 1): the run starts at base + m * stride.
// Indirect: run t of row m starts at base + offsets[m * taps + t], in elements; an offset of
// kPadding stands for `pad_row`, a run of `depth` padding elements (the zero point for a
// convolution). Tables hold no addresses, so one table serves every arena and every image.
template <typename T>
struct Rows {
  static constexpr int32_t kPadding = -1;

  const T* base = nullptr;
  ptrdiff_t stride = 0;
  const int32_t* offsets = nullptr;
  const T* pad_row = nullptr;
  int taps = 1;
  int depth = 0;
};

template <typename T>
static inline const T* row_run(const Rows<T>& rows, int64_t m, int tap) {
  if (rows.offsets == nullptr) return rows.base + m * rows.stride;
  const int32_t offset = rows.offsets[m * rows.taps + tap];
  return offset < 0 ? rows.pad_row : rows.base + offset;
}

}  // namespace zeropoint
