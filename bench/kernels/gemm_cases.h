// The matrix products of the five networks, and those on which engines are usually compared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layer_shapes.h"

namespace zeropoint::bench {

struct GemmCase {
  std::string networks;
  std::string shape;
  int64_t m = 0;
  int n = 0, taps = 1, depth = 0;
  int64_t input_elements = 0;
  std::vector<int32_t> offsets;  // of a convolution; empty where rows are read as they lie

  int64_t k() const { return static_cast<int64_t>(taps) * depth; }
  double macs() const { return static_cast<double>(m) * n * static_cast<double>(k()); }
};

const std::vector<GemmCase>& gemm_cases();

std::string conv_name(const Conv& layer);

}  // namespace zeropoint::bench
