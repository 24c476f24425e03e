// Joining nodes when a model is loaded, so that values go to memory once. Outputs stay the same to
// the bit; the values between joined nodes are not computed on their own any more.
#pragma once

#include <vector>

#include "runtime/model.h"

namespace zeropoint {

// Joins each int8 convolution (other than depthwise) or linear layer with an add of the same shape
// that alone reads its output, and the quantization of an image with its transposition to channels
// last. Returns the nodes as they were, or nothing where none was joined.
std::vector<NodeInfo> join_nodes(Model& model);

// The same model with these nodes in place of its own; constants are shared.
Model with_nodes(const Model& model, const std::vector<NodeInfo>& nodes);

}  // namespace zeropoint
