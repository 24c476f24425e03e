#include "ops/layer_weights.h"

#include <limits>

namespace zeropoint {

template <>
PackedGemm<act_t> LayerWeights<act_t>::pack(const GemmSize& block, int n_begin,
                                            const OpContext& context, const Source& source) const {
  return PackedGemm<act_t>(block, clamp, context, [&](const auto& pack_with) {
    gemm_s8::PackArgs args;
    args.weights = source();
    // Folded here, because a block may hold a part of the taps only.
    const std::vector<int32_t> bias =
        fold_bias(args.weights, block.n, int64_t{block.taps} * block.depth,
                  bias_s32.data() + n_begin, pad_value, name);
    args.bias = bias.data();
    args.multiplier = multiplier.data() + n_begin;
    args.n = block.n;
    args.taps = block.taps;
    args.depth = block.depth;
    args.m = block.m;
    pack_with(args);
  });
}

template <>
PackedGemm<float> LayerWeights<float>::pack(const GemmSize& block, int n_begin,
                                            const OpContext& context, const Source& source) const {
  return PackedGemm<float>(block, clip, context, [&](const auto& pack_with) {
    gemm_f32::PackArgs args;
    args.weights = source();
    args.n_stride = static_cast<ptrdiff_t>(block.taps) * block.depth;
    args.bias = bias_f32.data() + n_begin;
    args.n = block.n;
    args.taps = block.taps;
    args.depth = block.depth;
    pack_with(args);
  });
}

namespace {

LayerWeights<act_t> to_layer(QuantizedWeights&& q, const std::string& name) {
  LayerWeights<act_t> layer;
  layer.n = q.n;
  layer.taps = q.taps;
  layer.depth = q.depth;
  layer.repeat = q.repeat;
  layer.values = std::move(q.values);
  layer.bias_s32 = std::move(q.bias);
  layer.multiplier = std::move(q.multiplier);
  layer.name = name;
  return layer;
}

}  // namespace

template <>
LayerWeights<act_t> read_layer_weights<act_t>(const NodeInfo& node) {
  const ValueInfo &x = node.input(0), &w = node.input(1), &y = node.output();
  LayerWeights<act_t> layer =
      to_layer(read_quantized_weights(x, w, node.optional_input(2), y), w.name);
  if (y.dtype == DType::s32) {
    expect_no_activation(node);
  } else {
    layer.clamp = fused_clamp(node);
  }
  layer.pad_value = static_cast<act_t>(x.quant.zero_point);
  return layer;
}

LayerWeights<act_t> read_integer_layer_weights(const NodeInfo& node) {
  const ValueInfo& w = node.input(1);
  return to_layer(read_integer_weights(w, node.optional_input(3)), w.name);
}

template <>
LayerWeights<float> read_layer_weights<float>(const NodeInfo& node) {
  const ValueInfo& w = node.input(1);
  if (node.output().dtype != DType::f32) {
    throw Error(ErrorCode::invalid_model, "output '" + node.output().name + "' is " +
                                              dtype_name(node.output().dtype) +
                                              ", but the input is float32");
  }
  if (!w.is_constant() || w.dtype != DType::f32 || w.shape.rank() < 2) {
    throw Error(ErrorCode::invalid_model,
                "weights '" + w.name + "' must be a float32 constant of rank 2 or more");
  }
  const int64_t count = w.shape.elements();
  if (count <= 0 || count > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorCode::invalid_model, "weights '" + w.name + "' have the shape " +
                                              w.shape.to_string() +
                                              ", which is empty or too large");
  }
  LayerWeights<float> layer;
  layer.n = static_cast<int>(w.shape[0]);
  layer.taps = static_cast<int>(w.shape.elements(1, w.shape.rank() - 1));
  layer.depth = static_cast<int>(w.shape.back());
  const float* data = w.constant->as<float>();
  layer.values = WeightValues<float>(data);
  layer.bias_f32 = read_float_bias(node.optional_input(2), layer.n);
  layer.clip = fused_clip(node.attributes);
  layer.name = w.name;
  return layer;
}

}  // namespace zeropoint
