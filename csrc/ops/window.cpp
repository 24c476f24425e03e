#include "ops/window.h"

#include <limits>
#include <string>

#include "base/checked_math.h"
#include "base/error.h"

namespace zeropoint {
namespace {

// Reads `count` integers of [lowest, kMaxWindowAttribute]; `fallback` where the key is absent.
template <size_t count>
std::array<int64_t, count> read_list(const Attributes& attributes, const std::string& key,
                                     int64_t lowest, int64_t fallback) {
  std::array<int64_t, count> list;
  list.fill(fallback);
  if (!attributes.has(key)) return list;
  const std::vector<int64_t> values = attributes.get_ints(key);
  if (values.size() != count) {
    throw Error(ErrorCode::invalid_model, "attribute '" + key + "' has " +
                                              std::to_string(values.size()) + " values, expected " +
                                              std::to_string(count));
  }
  for (size_t i = 0; i < count; ++i) {
    if (values[i] < lowest || values[i] > kMaxWindowAttribute) {
      throw Error(ErrorCode::invalid_model, "attribute '" + key + "' has the value " +
                                                std::to_string(values[i]) + ", expected " +
                                                std::to_string(lowest) + " to " +
                                                std::to_string(kMaxWindowAttribute));
    }
    list[i] = values[i];
  }
  return list;
}

void check_kernel(const std::array<int64_t, 2>& kernel) {
  for (int64_t size : kernel) {
    if (size < 1 || size > kMaxWindowAttribute) {
      throw Error(ErrorCode::invalid_model, "the kernel size is " + std::to_string(kernel[0]) +
                                                " x " + std::to_string(kernel[1]) +
                                                ", expected 1 to " +
                                                std::to_string(kMaxWindowAttribute) + " each");
    }
  }
}

// For each output position and each tap along one axis: the input position, or -1 outside.
std::vector<int64_t> axis_positions(const Window& window, int axis, int64_t size) {
  const auto a = static_cast<size_t>(axis);
  const int64_t outputs = output_size(window, axis, size);
  checked_mul(outputs, window.kernel[a], "a window's table of positions");
  if (outputs * window.kernel[a] > kMaxOffsets) {
    throw Error(ErrorCode::unsupported, "a window of " + std::to_string(window.kernel[a]) +
                                            " taps over " + std::to_string(outputs) +
                                            " output positions is too large");
  }
  std::vector<int64_t> positions(static_cast<size_t>(outputs * window.kernel[a]));
  size_t i = 0;
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t start = o * window.strides[a] - window.pads[a];
    for (int64_t k = 0; k < window.kernel[a]; ++k) {
      const int64_t position = start + k * window.dilations[a];
      positions[i++] = position >= 0 && position < size ? position : -1;
    }
  }
  return positions;
}

}  // namespace

Window read_window(const Attributes& attributes, int64_t kernel_height, int64_t kernel_width) {
  Window window;
  window.kernel = {kernel_height, kernel_width};
  check_kernel(window.kernel);
  window.strides = read_list<2>(attributes, "strides", 1, 1);
  window.pads = read_list<4>(attributes, "pads", 0, 0);
  window.dilations = read_list<2>(attributes, "dilations", 1, 1);
  return window;
}

Window read_window(const Attributes& attributes) {
  attributes.get_ints("kernel");  // required
  const std::array<int64_t, 2> kernel = read_list<2>(attributes, "kernel", 1, 1);
  return read_window(attributes, kernel[0], kernel[1]);
}

int64_t output_size(const Window& window, int axis, int64_t size) {
  const auto a = static_cast<size_t>(axis);
  const char* direction = axis == 0 ? "height" : "width";
  if (size < 1) {
    throw Error(ErrorCode::invalid_argument, std::string("the input's ") + direction + " is " +
                                                 std::to_string(size) + ", expected at least 1");
  }
  const int64_t padded = checked_add(size, window.pads[a] + window.pads[a + 2], "a padded input");
  const int64_t extent = window.extent(axis);
  if (extent > padded) {
    throw Error(ErrorCode::invalid_argument,
                std::string("the window's ") + direction + " (" + std::to_string(extent) +
                    " with dilation) is larger than the padded input's (" + std::to_string(padded) +
                    "); use a larger input");
  }
  return (padded - extent) / window.strides[a] + 1;
}

Shape window_output_shape(const Window& window, const Shape& input, int64_t channels) {
  if (input.rank() != 4) {
    throw Error(ErrorCode::invalid_model, "the input has shape " + input.to_string() +
                                              ", expected 4 dimensions [N, H, W, C]");
  }
  return {input[0], output_size(window, 0, input[1]), output_size(window, 1, input[2]), channels};
}

void check_offset_range(int64_t elements) {
  if (elements > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorCode::unsupported, "an image of " + std::to_string(elements) +
                                            " elements is too large for this operator (2^31 - 1)");
  }
}

std::vector<int32_t> build_offsets(const Window& window, int64_t height, int64_t width,
                                   int64_t pixel_stride) {
  check_offset_range(checked_mul(checked_mul(height, width, "an image"), pixel_stride, "an image"));
  const std::vector<int64_t> ys = axis_positions(window, 0, height);
  const std::vector<int64_t> xs = axis_positions(window, 1, width);
  const auto kernel_height = static_cast<size_t>(window.kernel[0]);
  const auto kernel_width = static_cast<size_t>(window.kernel[1]);
  const int64_t entries = checked_mul(static_cast<int64_t>(ys.size()),
                                      static_cast<int64_t>(xs.size()), "an offset table");
  if (entries > kMaxOffsets) {
    throw Error(ErrorCode::unsupported,
                "a window of " + std::to_string(window.kernel[0]) + " x " +
                    std::to_string(window.kernel[1]) + " over an output of " +
                    std::to_string(ys.size() / kernel_height) + " x " +
                    std::to_string(xs.size() / kernel_width) +
                    " pixels needs too large an offset table; use a smaller input");
  }
  std::vector<int32_t> offsets(static_cast<size_t>(entries));
  size_t i = 0;
  for (size_t oy = 0; oy < ys.size(); oy += kernel_height) {
    for (size_t ox = 0; ox < xs.size(); ox += kernel_width) {
      for (size_t ky = 0; ky < kernel_height; ++ky) {
        const int64_t y = ys[oy + ky];
        for (size_t kx = 0; kx < kernel_width; ++kx) {
          const int64_t x = xs[ox + kx];
          offsets[i++] = y < 0 || x < 0 ? kPaddingOffset
                                        : static_cast<int32_t>((y * width + x) * pixel_stride);
        }
      }
    }
  }
  return offsets;
}

std::vector<int32_t> inside_taps(const Window& window, int axis, int64_t size) {
  const std::vector<int64_t> positions = axis_positions(window, axis, size);
  const auto kernel = static_cast<size_t>(window.kernel[static_cast<size_t>(axis)]);
  std::vector<int32_t> counts(positions.size() / kernel);
  for (size_t i = 0; i < positions.size(); ++i) counts[i / kernel] += positions[i] >= 0 ? 1 : 0;
  return counts;
}

}  // namespace zeropoint
