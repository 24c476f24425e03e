// The weights of a convolution or linear layer in one form for int8 and float32, and the packing of
// blocks of them into PackedGemm.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/packed_gemm.h"
#include "ops/quantized_weights.h"

namespace zeropoint {

// T is the activation type: act_t or float.
template <typename T>
struct LayerWeights {
  using Element = std::conditional_t<std::is_same_v<T, float>, float, int8_t>;

  int n = 0;                      // output channels
  int taps = 1;                   // `repeat` included
  int depth = 0;                  // input channels of one group
  int repeat = 1;                 // see QuantizedWeights; 1 for float32
  WeightValues<Element> values;   // [n][taps][depth]
  std::vector<int32_t> bias_s32;  // int8 only; not folded yet
  std::vector<float> multiplier;  // int8 only
  std::vector<float> bias_f32;    // float32 only
  OutputClamp clamp;              // int8 only
  FloatClip clip{0.0f, 0.0f};     // float32 only
  T pad_value{};                  // what padding holds: real 0
  std::string name;               // of the weights, for messages

  // Packs output channels [n_begin, n_begin + block.n) with weights [block.n][taps][depth] that may
  // be laid out anew (a subset of the taps, several groups side by side). `source` is called only
  // where they are not packed already, and what it returns is read before it is called again.
  using Source = std::function<const Element*()>;
  PackedGemm<T> pack(const GemmSize& block, int n_begin, const OpContext& context,
                     const Source& source) const;
};

// Reads inputs 1 (weights) and 2 (bias) and the fused activation of a node, with all checks.
template <typename T>
LayerWeights<T> read_layer_weights(const NodeInfo& node);
template <>
LayerWeights<act_t> read_layer_weights<act_t>(const NodeInfo& node);
template <>
LayerWeights<float> read_layer_weights<float>(const NodeInfo& node);
// Of a node whose zero points are inputs 2 (of x, known at run time) and 3 (of the weights, a
// constant): for int32 outputs only, with a pad value and a folded zero point of 0.
LayerWeights<act_t> read_integer_layer_weights(const NodeInfo& node);

// `count` copies of `value`, readable kOverreadBytes past the end.
template <typename T>
AlignedBuffer filled_buffer(int64_t count, T value) {
  AlignedBuffer buffer(static_cast<size_t>(count) * sizeof(T));
  T* data = buffer.as<T>();
  for (int64_t i = 0; i < count; ++i) data[i] = value;
  return buffer;
}

// Calls make(act_t{}) or make(float{}) by the dtype of the node's first input.
template <typename Make>
std::unique_ptr<Op> make_by_precision(const NodeInfo& node, const Make& make) {
  const ValueInfo& x = node.input(0);
  if (x.dtype == DType::s8) return make(act_t{});
  if (x.dtype == DType::f32) return make(float{});
  throw Error(ErrorCode::unsupported, "input '" + x.name + "' is " + dtype_name(x.dtype) +
                                          "; only float32 and int8 can run");
}

}  // namespace zeropoint
