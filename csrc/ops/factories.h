// The factories of all operators; registry.cpp lists them by name.
#pragma once

#include <memory>

#include "ops/op.h"

namespace zeropoint {

std::unique_ptr<Op> make_conv2d(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_conv_transpose2d(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_linear(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_matmul(const NodeInfo& node, const OpContext& context);
// matmul_integer.cpp
std::unique_ptr<Op> make_matmul_int8(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_matmul_integer(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_conv_integer(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_dynamic_quantize(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_dynamic_linear(const NodeInfo& node, const OpContext& context);

// binary.cpp
std::unique_ptr<Op> make_add(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_sub(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_mul(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_max(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_min(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_div(const NodeInfo& node, const OpContext& context);

// unary.cpp: every operator of operators.py's UNARY; the node's name tells which.
std::unique_ptr<Op> make_unary(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_prelu(const NodeInfo& node, const OpContext& context);

std::unique_ptr<Op> make_lookup(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_quantize(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_dequantize(const NodeInfo& node, const OpContext& context);

// pool.cpp
std::unique_ptr<Op> make_max_pool2d(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_avg_pool2d(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_global_max_pool(const NodeInfo& node, const OpContext& context);

std::unique_ptr<Op> make_reduce_mean(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_concat(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_pad(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_resize(const NodeInfo& node, const OpContext& context);

// reshape.cpp: views
std::unique_ptr<Op> make_reshape(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_flatten(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_squeeze(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_unsqueeze(const NodeInfo& node, const OpContext& context);

std::unique_ptr<Op> make_transpose(const NodeInfo& node, const OpContext& context);

// slice.cpp
std::unique_ptr<Op> make_slice(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_split(const NodeInfo& node, const OpContext& context);

std::unique_ptr<Op> make_argmax(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_layer_norm(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_cast(const NodeInfo& node, const OpContext& context);
std::unique_ptr<Op> make_softmax(const NodeInfo& node, const OpContext& context);

}  // namespace zeropoint
