// Nodes that the runtime joined: a convolution or linear layer and the residual add behind it; the
// quantization of an image and its transposition to channels last.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/residual.h"
#include "ops/op.h"

namespace zeropoint {

// The add at the end of a fused node, as a layer's plan takes it.
struct FusedAdd {
  size_t input = 0;   // of the fused node: the other operand; 0: there is no add
  Residual residual;  // `data` and `stride` are set when it runs
};

// What the kernels need to add `other` to a layer's `output`, giving the add's own output; data is
// nullptr. `representable` tells whether they can: int8 values whose scales are not absurdly far
// apart.
struct ResidualArithmetic {
  bool representable = false;
  Residual residual;
};
ResidualArithmetic residual_arithmetic(const ValueInfo& output, const ValueInfo& other,
                                       const NodeInfo& add);

// Images of more channels are transposed on their own.
inline constexpr int64_t kMaxImageChannels = 16;
// Does this transpose move axis 1 to the end, of a value with few channels?
bool is_image_to_channels_last(const NodeInfo& transpose);
// The operator of a node with parts {quantize, transpose}, where is_image_to_channels_last().
std::unique_ptr<Op> make_quantize_image(const NodeInfo& node, const OpContext& context);

// The operator of a node with parts: {layer, add}, whose inputs are the layer's, then the add's
// other operand; or {quantize, transpose}.
std::unique_ptr<Op> make_fused(const NodeInfo& node, const OpContext& context);

}  // namespace zeropoint
