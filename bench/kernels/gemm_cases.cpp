#include "gemm_cases.h"

#include "bench_support.h"

namespace zeropoint::bench {
namespace {

// Not layers: squares show how near a kernel comes to the ceiling, single rows the memory's speed.
constexpr Linear kUsualProducts[] = {
    {1, 4096, 4096, "gemv"},    {4, 4096, 4096, "gemv"}, {784, 128, 1152, "gemm"},
    {3136, 64, 576, "gemm"},    {49, 512, 4608, "gemm"}, {1024, 1024, 1024, "gemm"},
    {2048, 2048, 2048, "gemm"},
};

GemmCase linear_case(const Linear& layer) {
  GemmCase result;
  result.networks = layer.networks;
  result.shape = "m" + std::to_string(layer.m) + "_n" + std::to_string(layer.n) + "_k" +
                 std::to_string(layer.k);
  result.m = layer.m;
  result.n = layer.n;
  result.depth = layer.k;
  result.input_elements = layer.m * layer.k;
  return result;
}

// As conv2d runs them: inputs of few channels are copied into a padded image first (not timed
// here), where the bytes of a whole kernel row are one tap.
GemmCase conv_case(const Conv& layer) {
  constexpr int kFewChannels = 16;
  const bool by_rows = layer.channels < kFewChannels;
  const Window window = square_window(layer.kernel, layer.stride);
  const int64_t side = output_size(window, 0, layer.side);
  GemmCase result;
  result.networks = layer.networks;
  result.shape = conv_name(layer);
  result.m = side * side;
  result.n = layer.filters;
  result.taps = by_rows ? layer.kernel : layer.kernel * layer.kernel;
  result.depth = by_rows ? layer.kernel * layer.channels : layer.channels;
  if (!by_rows) {
    result.input_elements = int64_t{layer.side} * layer.side * layer.channels;
    result.offsets = build_offsets(window, layer.side, layer.side, layer.channels);
    return result;
  }
  const int64_t row = ((side - 1) * layer.stride + layer.kernel) * layer.channels;
  result.input_elements = row * row / layer.channels;
  for (int64_t p = 0; p < result.m; ++p) {
    for (int tap = 0; tap < layer.kernel; ++tap) {
      result.offsets.push_back(static_cast<int32_t>((p / side * layer.stride + tap) * row +
                                                    p % side * layer.stride * layer.channels));
    }
  }
  return result;
}

}  // namespace

std::string conv_name(const Conv& layer) {
  const std::string kernel = std::to_string(layer.kernel), side = std::to_string(layer.side);
  return "conv" + kernel + "x" + kernel + "_s" + std::to_string(layer.stride) + "_" + side + "x" +
         side + "x" + std::to_string(layer.channels) + "_n" + std::to_string(layer.filters);
}

const std::vector<GemmCase>& gemm_cases() {
  static const std::vector<GemmCase> cases = [] {
    std::vector<GemmCase> all;
    for (const Linear& layer : kUsualProducts) all.push_back(linear_case(layer));
    for (const Linear& layer : kLinearLayers) all.push_back(linear_case(layer));
    for (const Conv& layer : kConvLayers) all.push_back(conv_case(layer));
    return all;
  }();
  return cases;
}

}  // namespace zeropoint::bench
