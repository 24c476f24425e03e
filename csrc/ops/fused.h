// Nodes that the runtime joined: a convolution or linear layer and the residual add behind it.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/gemm_s8/gemm_s8.h"
#include "ops/op.h"

namespace zeropoint {

// The add at the end of a fused node, as a layer's plan takes it.
struct FusedAdd {
  size_t input = 0;            // of the fused node: the other operand; 0: there is no add
  gemm_s8::Residual residual;  // `data` and `stride` are set when it runs
};

// What the kernels need to add `other` to a layer's `output`, giving the add's own output; data is
// nullptr. `representable` tells whether they can: int8 values whose scales are not absurdly far
// apart.
struct ResidualArithmetic {
  bool representable = false;
  gemm_s8::Residual residual;
};
ResidualArithmetic residual_arithmetic(const ValueInfo& output, const ValueInfo& other,
                                       const NodeInfo& add);

// The operator of a node with parts {layer, add}: its inputs are the layer's, then the add's other
// operand.
std::unique_ptr<Op> make_fused(const NodeInfo& node, const OpContext& context);

}  // namespace zeropoint
