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

void check_offset_count(int64_t rows, int64_t taps) {
  if (rows > kMaxOffsets / taps) {
    throw Error(ErrorCode::unsupported, "a table of " + std::to_string(rows) + " x " +
                                            std::to_string(taps) +
                                            " offsets is too large; use a smaller input");
  }
}

std::vector<int32_t> build_offsets(const Window& window, int64_t height, int64_t width,
                                   int64_t pixel_stride) {
  check_offset_range(checked_mul(checked_mul(height, width, "an image"), pixel_stride, "an image"));
  const int64_t output_height = output_size(window, 0, height);
  const int64_t output_width = output_size(window, 1, width);
  const int64_t entries =
      checked_mul(checked_mul(output_height, output_width, "an offset table"),
                  checked_mul(window.kernel[0], window.kernel[1], "a window"), "an offset table");
  if (entries > kMaxOffsets) {
    throw Error(ErrorCode::unsupported,
                "a window of " + std::to_string(window.kernel[0]) + " x " +
                    std::to_string(window.kernel[1]) + " over an output of " +
                    std::to_string(output_height) + " x " + std::to_string(output_width) +
                    " pixels needs too large an offset table; use a smaller input");
  }
  std::vector<int32_t> offsets(static_cast<size_t>(entries));
  const int64_t taps = window.taps();
  const auto step = static_cast<int32_t>(window.strides[1] * pixel_stride);
  // Output columns whose taps are all inside the image, from left to right.
  const int64_t reach = (window.kernel[1] - 1) * window.dilations[1];
  const auto inside_width = [&](int64_t ox) {
    const int64_t left = ox * window.strides[1] - window.pads[1];
    return left >= 0 && left + reach < width;
  };
  int32_t* out = offsets.data();
  for (int64_t oy = 0; oy < output_height; ++oy) {
    bool left_is_inside = false;
    for (int64_t ox = 0; ox < output_width; ++ox, out += taps) {
      const bool is_inside = inside_width(ox);
      if (is_inside && left_is_inside) {
        for (int64_t t = 0; t < taps; ++t) {
          out[t] = out[t - taps] == kPaddingOffset ? kPaddingOffset : out[t - taps] + step;
        }
        continue;
      }
      left_is_inside = is_inside;
      int32_t* tap = out;
      for (int64_t ky = 0; ky < window.kernel[0]; ++ky) {
        const int64_t y = oy * window.strides[0] - window.pads[0] + ky * window.dilations[0];
        for (int64_t kx = 0; kx < window.kernel[1]; ++kx) {
          const int64_t x = ox * window.strides[1] - window.pads[1] + kx * window.dilations[1];
          const bool inside = y >= 0 && y < height && x >= 0 && x < width;
          *tap++ = inside ? static_cast<int32_t>((y * width + x) * pixel_stride) : kPaddingOffset;
        }
      }
    }
  }
  return offsets;
}

std::vector<int32_t> inside_taps(const Window& window, int axis, int64_t size) {
  const auto a = static_cast<size_t>(axis);
  const int64_t outputs = output_size(window, axis, size);
  if (checked_mul(outputs, window.kernel[a], "a window") > kMaxOffsets) {
    throw Error(ErrorCode::unsupported, "a window of " + std::to_string(window.kernel[a]) +
                                            " taps over " + std::to_string(outputs) +
                                            " output pixels is too large; use a smaller input");
  }
  std::vector<int32_t> counts(static_cast<size_t>(outputs));
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t k = 0; k < window.kernel[a]; ++k) {
      const int64_t i = o * window.strides[a] - window.pads[a] + k * window.dilations[a];
      if (i >= 0 && i < size) ++counts[static_cast<size_t>(o)];
    }
  }
  return counts;
}

}  // namespace zeropoint
