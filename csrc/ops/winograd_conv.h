// conv2d in int8 of 3x3 with stride 1, by Winograd's minimal filtering (kernels/winograd_s8).
#pragma once

#include <memory>

#include "ops/layer_weights.h"
#include "ops/op.h"

namespace zeropoint {

// nullptr where the convolution is of another kind, or it does not pay.
std::unique_ptr<Op> make_winograd_conv(const NodeInfo& node, const LayerWeights<act_t>& weights,
                                       const OpContext& context);

}  // namespace zeropoint
