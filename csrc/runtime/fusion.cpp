#include "runtime/fusion.h"

#include <utility>

#include "ops/fused.h"

namespace zeropoint {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

bool is_int8_activation(const ValueInfo* value) {
  return value != nullptr && value->dtype == DType::s8 && !value->is_constant();
}

// Does a GEMM compute this node? Kernels for depthwise convolutions take no residuals.
bool is_int8_gemm(const NodeInfo& node) {
  if (node.op != "linear" && node.op != "conv2d") return false;
  if (node.inputs.size() < 2 || node.outputs.size() != 1 || node.inputs[1] == nullptr) return false;
  if (!is_int8_activation(node.inputs[0]) || !is_int8_activation(node.outputs[0])) return false;
  const Shape& weights = node.inputs[1]->shape;
  return node.op == "linear" || (weights.rank() == 4 && weights.back() != 1) ||
         !node.attributes.has("groups") || node.attributes.get_int("groups") == 1;
}

// Who writes and reads each value.
struct Uses {
  std::vector<size_t> writer;
  std::vector<int> readers;  // a graph output counts as one

  explicit Uses(const Model& model)
      : writer(model.values.size(), kNone), readers(model.values.size()) {
    for (size_t i = 0; i < model.nodes.size(); ++i) {
      for (const ValueInfo* value : model.nodes[i].outputs) writer[model.index_of(*value)] = i;
      for (const ValueInfo* value : model.nodes[i].inputs) {
        if (value != nullptr) ++readers[model.index_of(*value)];
      }
    }
    for (const ValueInfo* value : model.outputs) ++readers[model.index_of(*value)];
  }
};

// The quantization whose result node `at` alone reads, to transpose it to channels last, or kNone.
size_t quantization(const Model& model, const Uses& uses, size_t at) {
  if (!is_image_to_channels_last(model.nodes[at])) return kNone;
  const ValueInfo& image = model.nodes[at].input(0);
  const size_t index = model.index_of(image), writer = uses.writer[index];
  if (!is_int8_activation(&image) || writer == kNone || uses.readers[index] != 1) return kNone;
  const NodeInfo& quantize = model.nodes[writer];
  const bool takes_activation = quantize.op == "quantize" && quantize.inputs.size() == 1 &&
                                quantize.inputs[0] != nullptr && !quantize.inputs[0]->is_constant();
  return takes_activation && quantize.outputs.size() == 1 ? writer : kNone;
}

// The layer that add `at` can be joined with, or kNone: of two, the later one.
size_t layer_before(const Model& model, const Uses& uses, size_t at) {
  const NodeInfo& add = model.nodes[at];
  if (add.op != "add" || add.inputs.size() != 2 || add.outputs.size() != 1) return kNone;
  if (!is_int8_activation(add.outputs[0])) return kNone;
  size_t found = kNone;
  for (size_t i = 0; i < 2; ++i) {
    const ValueInfo *value = add.inputs[i], *other = add.inputs[1 - i];
    if (!is_int8_activation(value) || !is_int8_activation(other) || value == other) continue;
    const size_t index = model.index_of(*value);
    const size_t layer = uses.writer[index];
    if (layer == kNone || uses.readers[index] != 1 || !is_int8_gemm(model.nodes[layer])) continue;
    if (value->shape != other->shape || value->shape != add.output().shape) continue;
    if (!residual_arithmetic(*value, *other, add).representable) continue;
    if (found == kNone || layer > found) found = layer;
  }
  return found;
}

// `second` reads what `first` writes; its other inputs follow those of `first`.
NodeInfo join(NodeInfo first, NodeInfo second) {
  NodeInfo fused;
  fused.name = first.name;
  fused.op = first.op + "+" + second.op;
  fused.inputs = first.inputs;
  for (const ValueInfo* input : second.inputs) {
    if (input != first.outputs[0]) fused.inputs.push_back(input);
  }
  fused.outputs = second.outputs;
  fused.parts.push_back(std::move(first));
  fused.parts.push_back(std::move(second));
  return fused;
}

}  // namespace

std::vector<NodeInfo> join_nodes(Model& model) {
  const Uses uses(model);
  std::vector<size_t> partner_of(model.nodes.size(), kNone);  // the first node, of the second
  std::vector<bool> taken(model.nodes.size());                // as the first node
  bool any = false;
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    try {
      partner_of[i] = layer_before(model, uses, i);
      if (partner_of[i] == kNone) partner_of[i] = quantization(model, uses, i);
    } catch (const Error&) {
      continue;  // a faulty attribute: the operator itself says so, with the node's name
    }
    if (partner_of[i] == kNone) continue;
    taken[partner_of[i]] = true;
    any = true;
  }
  if (!any) return {};
  std::vector<NodeInfo> before = std::move(model.nodes);
  model.nodes.clear();
  for (size_t i = 0; i < before.size(); ++i) {
    if (partner_of[i] != kNone) {
      model.nodes.push_back(join(before[partner_of[i]], before[i]));
    } else if (!taken[i]) {
      model.nodes.push_back(before[i]);
    }
  }
  return before;
}

Model with_nodes(const Model& model, const std::vector<NodeInfo>& nodes) {
  Model copy;
  copy.source = model.source;
  copy.name = model.name;
  copy.producer = model.producer;
  copy.file_bytes = model.file_bytes;
  copy.constant_bytes = model.constant_bytes;
  copy.owners = model.owners;
  copy.values.resize(model.values.size());
  for (size_t i = 0; i < model.values.size(); ++i) {
    const ValueInfo& from = model.values[i];
    ValueInfo& to = copy.values[i];
    to.name = from.name;
    to.dtype = from.dtype;
    to.shape = from.shape;
    to.quantized = from.quantized;
    to.quant = from.quant;
    if (from.is_constant()) to.constant = std::make_unique<Constant>(*from.constant);
  }
  const auto moved = [&](std::vector<const ValueInfo*> values) {
    for (const ValueInfo*& value : values) {
      if (value != nullptr) value = &copy.values[model.index_of(*value)];
    }
    return values;
  };
  copy.nodes = nodes;
  for (NodeInfo& node : copy.nodes) {
    node.inputs = moved(node.inputs);
    node.outputs = moved(node.outputs);
  }
  copy.inputs = moved(model.inputs);
  copy.outputs = moved(model.outputs);
  copy.unsigned_values = moved(model.unsigned_values);
  return copy;
}

}  // namespace zeropoint
