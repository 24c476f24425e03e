// The geometry of convolution and pooling windows over [N, H, W, C], and the offset tables that
// let kernels read them without an im2col copy.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/shape.h"
#include "kernels/indirection.h"
#include "ops/op.h"

namespace zeropoint {

inline constexpr int32_t kPaddingOffset = Rows<float>::kPadding;  // the same for every element type

// Sizes are [vertical, horizontal], pads [top, left, bottom, right].
struct Window {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{0, 0, 0, 0};
  std::array<int64_t, 2> dilations{1, 1};

  int64_t taps() const { return kernel[0] * kernel[1]; }
  // From the first tap to the last one, both included.
  int64_t extent(int axis) const {
    const auto i = static_cast<size_t>(axis);
    return (kernel[i] - 1) * dilations[i] + 1;
  }
  // One tap a pixel, every pixel, in order: the input can be read as it lies.
  bool is_pointwise() const {
    return taps() == 1 && strides == std::array<int64_t, 2>{1, 1} &&
           pads == std::array<int64_t, 4>{0, 0, 0, 0};
  }
};

// No attribute of a window may be larger; it keeps all arithmetic on them far from overflow.
inline constexpr int64_t kMaxWindowAttribute = int64_t{1} << 24;
// An offset table may not have more entries (1 GiB).
inline constexpr int64_t kMaxOffsets = int64_t{1} << 28;

// The attributes strides, pads and dilations (absent: 1, 0, 1) around a kernel size that comes from
// the weights or from the attribute `kernel`. Error(invalid_model) when a list has another length
// or a value is out of range.
Window read_window(const Attributes& attributes, int64_t kernel_height, int64_t kernel_width);
Window read_window(const Attributes& attributes);

// Output pixels along one axis (0 vertical, 1 horizontal) of an input of `size` pixels:
// (size + pads - extent) / stride + 1. Error when the window does not fit, or size < 1.
int64_t output_size(const Window& window, int axis, int64_t size);

// The output shape of a window operator over `input` (rank 4) with `channels` output channels.
Shape window_output_shape(const Window& window, const Shape& input, int64_t channels);

// The offset table of one image for Rows<T>: entry [p * taps + t], p = oy * OW + ox and
// t = ky * KW + kx, is the element offset (iy * width + ix) * pixel_stride of the input pixel that
// tap t of output pixel p reads, or kPaddingOffset where it lies outside. Error(unsupported) when
// the table or the image is too large for 32-bit offsets.
std::vector<int32_t> build_offsets(const Window& window, int64_t height, int64_t width,
                                   int64_t pixel_stride);

// How many taps of each output position along `axis` lie inside the input: [output_size].
std::vector<int32_t> inside_taps(const Window& window, int axis, int64_t size);

// Throws when `rows` rows of `taps` offsets make too large a table (kMaxOffsets).
void check_offset_count(int64_t rows, int64_t taps);

// Throws unless an image of so many elements can be addressed with 32-bit offsets.
void check_offset_range(int64_t elements);

}  // namespace zeropoint
