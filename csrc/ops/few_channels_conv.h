// conv2d in int8 over few input channels: the first layer of most networks.
#pragma once

#include <memory>

#include "ops/layer_weights.h"
#include "ops/op.h"

namespace zeropoint {

// nullptr where the convolution is of another kind, or a window in one piece saves too little over
// one in kernel rows.
std::unique_ptr<Op> make_few_channels_conv(const NodeInfo& node, const LayerWeights<act_t>& weights,
                                           const OpContext& context);

}  // namespace zeropoint
