// The attributes and channel counts of a convolution, checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/checked_math.h"
#include "base/error.h"
#include "ops/layer_weights.h"
#include "ops/op.h"
#include "ops/window.h"

namespace zeropoint {

// What all forms of a convolution check and know.
template <typename T>
struct ConvShape {
  Window window;
  int64_t groups = 1;
  int64_t in_channels = 0, out_channels = 0;

  ConvShape(const NodeInfo& node, const LayerWeights<T>& weights) {
    const Shape& w = node.input(1).shape;
    if (w.rank() != 4) {
      throw Error(ErrorCode::invalid_model,
                  "weights must be [O, kh, kw, I / groups], found " + w.to_string());
    }
    window = read_window(node.attributes, w[1], w[2]);
    groups = node.attributes.get_int("groups", 1);
    if (groups < 1 || w[0] % groups != 0) {
      throw Error(ErrorCode::invalid_model, std::to_string(groups) + " groups do not divide " +
                                                std::to_string(w[0]) + " output channels");
    }
    out_channels = weights.n;
    in_channels = checked_mul(weights.depth, groups, "the input's channel count");
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const {
    const Shape& x = inputs.at(0);
    if (x.rank() != 4 || x[3] != in_channels) {
      throw Error(
          ErrorCode::invalid_argument,
          "input must be [N, H, W, " + std::to_string(in_channels) + "], found " + x.to_string());
    }
    return {window_output_shape(window, x, out_channels)};
  }

  int64_t macs(const Shape& y, int64_t depth) const { return y.elements() * window.taps() * depth; }
};

}  // namespace zeropoint
