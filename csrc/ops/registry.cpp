// The table of operators: what python/zeropoint/operators.py documents.
#include <string>
#include <vector>

#include "base/error.h"
#include "ops/factories.h"
#include "ops/fused.h"
#include "ops/op.h"

namespace zeropoint {

const std::vector<OpEntry>& op_entries() {
  static const std::vector<OpEntry> entries = {
      {"abs", make_unary},
      {"add", make_add},
      {"argmax", make_argmax},
      {"avg_pool2d", make_avg_pool2d},
      {"cast", make_cast},
      {"clip", make_unary},
      {"concat", make_concat},
      {"conv2d", make_conv2d},
      {"conv_integer", make_conv_integer},
      {"conv_transpose2d", make_conv_transpose2d},
      {"dequantize", make_dequantize},
      {"div", make_div},
      {"dynamic_linear", make_dynamic_linear},
      {"dynamic_quantize", make_dynamic_quantize},
      {"elu", make_unary},
      {"erf", make_unary},
      {"exp", make_unary},
      {"flatten", make_flatten},
      {"gelu", make_unary},
      {"gelu_tanh", make_unary},
      {"global_max_pool", make_global_max_pool},
      {"hard_sigmoid", make_unary},
      {"hard_swish", make_unary},
      {"layer_norm", make_layer_norm},
      {"leaky_relu", make_unary},
      {"linear", make_linear},
      {"log", make_unary},
      {"lookup", make_lookup},
      {"matmul", make_matmul},
      {"matmul_integer", make_matmul_integer},
      {"max", make_max},
      {"max_pool2d", make_max_pool2d},
      {"min", make_min},
      {"mish", make_unary},
      {"mul", make_mul},
      {"neg", make_unary},
      {"pad", make_pad},
      {"pow", make_unary},
      {"prelu", make_prelu},
      {"quantize", make_quantize},
      {"reduce_mean", make_reduce_mean},
      {"relu", make_unary},
      {"reshape", make_reshape},
      {"resize", make_resize},
      {"sigmoid", make_unary},
      {"silu", make_unary},
      {"slice", make_slice},
      {"softmax", make_softmax},
      {"softplus", make_unary},
      {"split", make_split},
      {"sqrt", make_unary},
      {"squeeze", make_squeeze},
      {"sub", make_sub},
      {"tanh", make_unary},
      {"transpose", make_transpose},
      {"unsqueeze", make_unsqueeze},
  };
  return entries;
}

std::unique_ptr<Op> make_op(const NodeInfo& node, const OpContext& context) {
  if (!node.parts.empty()) return make_fused(node, context);
  for (const OpEntry& entry : op_entries()) {
    if (node.op == entry.name) return entry.make(node, context);
  }
  throw Error(ErrorCode::unsupported,
              "this version of zeropoint has no operator '" + node.op + "'; update zeropoint");
}

}  // namespace zeropoint
