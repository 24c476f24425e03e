#include "runtime/execution_plan.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "runtime/gguf.h"

namespace zeropoint {
namespace {

constexpr size_t kMaxIdleContexts = 16;
// Graph inputs are in memory before the first node runs.
constexpr int kBeforeFirst = -1;

int64_t physical_memory() {
  const int64_t pages = ::sysconf(_SC_PHYS_PAGES);
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? pages * page : kMaxBytes;
}

std::string mebibytes(int64_t bytes) {
  return std::to_string(ceil_div(bytes, int64_t{1} << 20)) + " MiB";
}

}  // namespace

std::string node_label(const NodeInfo& node) {
  return "node " + gguf::quoted(node.name) + " (" + gguf::printable(node.op) + ")";
}

// Is graph input `value` read by nothing but steps that can read it where the caller has it? An
// int8 value cannot stay there: its domain may differ.
bool stays_with_caller(const Model& model, const Ops& ops, const ValueInfo& value) {
  if (value.dtype == DType::s8) return false;
  for (const ValueInfo* output : model.outputs) {
    if (output == &value) return false;
  }
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    for (size_t k = 0; k < model.nodes[i].inputs.size(); ++k) {
      if (model.nodes[i].inputs[k] != &value) continue;
      if (ops[i]->is_view() || !ops[i]->reads_exactly(k)) return false;
    }
  }
  return true;
}

// Several values may share one buffer: views, and outputs written over an input.
struct ExecutionPlan::Buffers {
  static constexpr size_t kNone = static_cast<size_t>(-1);

  std::vector<BufferRequest> requests;
  std::vector<size_t> of_value;  // request of each value, or kNone
  std::vector<int> last_use;     // of each value

  Buffers(const Model& model, int end)
      : of_value(model.values.size(), kNone), last_use(model.values.size(), kBeforeFirst) {
    for (size_t i = 0; i < model.nodes.size(); ++i) {
      const auto step = static_cast<int>(i);
      for (const ValueInfo* value : model.nodes[i].inputs) {
        if (value != nullptr) last_use[model.index_of(*value)] = step;
      }
      for (const ValueInfo* value : model.nodes[i].outputs) {
        last_use[model.index_of(*value)] = step;
      }
    }
    for (const ValueInfo* value : model.outputs) last_use[model.index_of(*value)] = end;
  }

  void create(size_t value, int64_t bytes, int first) {
    of_value[value] = requests.size();
    requests.push_back({bytes, first, last_use[value]});
  }
  void share(size_t value, size_t with) {
    of_value[value] = of_value[with];
    BufferRequest& request = requests[of_value[with]];
    request.last = std::max(request.last, last_use[value]);
  }
};

ExecutionPlan::ExecutionPlan(const Model& model, const Ops& ops,
                             const std::vector<Shape>& input_shapes, bool slices)
    : input_shapes_(input_shapes) {
  try {
    infer_shapes(model, ops);
    if (slices) find_slices(model, ops);
    assign_buffers(model, ops);
  } catch (const Error& error) {
    rethrow_with_context(error, model.source);
  }
}

int64_t ExecutionPlan::bytes(size_t value) const { return bytes_[value]; }

void ExecutionPlan::infer_shapes(const Model& model, const Ops& ops) {
  shapes_.resize(model.values.size());
  bytes_.resize(model.values.size());
  const auto set = [&](const ValueInfo& value, const Shape& shape) {
    const size_t index = model.index_of(value);
    for (const int64_t dim : shape) {
      if (dim < 1) {
        throw Error(ErrorCode::invalid_argument, "value " + gguf::quoted(value.name) +
                                                     " would be empty: its shape is " +
                                                     shape.to_string());
      }
    }
    int64_t bytes = dtype_size(value.dtype);
    for (const int64_t dim : shape) {
      if (bytes > kMaxBytes / dim) {
        throw Error(ErrorCode::out_of_memory, "value " + gguf::quoted(value.name) + " of shape " +
                                                  shape.to_string() +
                                                  " is too large; use a smaller batch or input");
      }
      bytes *= dim;
    }
    shapes_[index] = shape;
    bytes_[index] = bytes;
  };
  for (const ValueInfo& value : model.values) {
    if (value.is_constant()) set(value, value.shape);
  }
  for (size_t i = 0; i < model.inputs.size(); ++i) set(*model.inputs[i], input_shapes_[i]);

  steps_.resize(model.nodes.size());
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    const NodeInfo& node = model.nodes[i];
    try {
      std::vector<Shape> inputs;
      for (const ValueInfo* value : node.inputs) {
        inputs.push_back(value == nullptr ? Shape{} : shapes_[model.index_of(*value)]);
      }
      const std::vector<Shape> outputs = ops[i]->infer(inputs);
      if (outputs.size() != node.outputs.size()) {
        throw Error(ErrorCode::invalid_model, "has " + std::to_string(node.outputs.size()) +
                                                  " outputs in the model, the operator has " +
                                                  std::to_string(outputs.size()));
      }
      for (size_t k = 0; k < outputs.size(); ++k) set(*node.outputs[k], outputs[k]);
      if (!ops[i]->is_view()) {
        steps_[i].plan = ops[i]->plan(inputs, outputs);
      } else if (node.input(0).dtype != node.output().dtype ||
                 bytes_[model.index_of(node.input(0))] != bytes_[model.index_of(node.output())]) {
        throw Error(ErrorCode::invalid_model,
                    "turns " + std::string(dtype_name(node.input(0).dtype)) + " " +
                        inputs[0].to_string() + " into " + dtype_name(node.output().dtype) + " " +
                        outputs[0].to_string());
      }
    } catch (const Error& error) {
      rethrow_with_context(error, node_label(node));
    }
  }
}

void ExecutionPlan::find_slices(const Model& model, const Ops& ops) {
  constexpr size_t kNobody = static_cast<size_t>(-1);
  std::vector<size_t> writer(model.values.size(), kNobody);
  std::vector<int> readers(model.values.size());
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    for (const ValueInfo* value : model.nodes[i].inputs) {
      if (value != nullptr) ++readers[model.index_of(*value)];
    }
    for (const ValueInfo* value : model.nodes[i].outputs) writer[model.index_of(*value)] = i;
  }
  for (const ValueInfo* value : model.outputs) ++readers[model.index_of(*value)];
  const auto input_shapes = [&](const NodeInfo& node) {
    std::vector<Shape> shapes;
    for (const ValueInfo* value : node.inputs) {
      shapes.push_back(value == nullptr ? Shape{} : shapes_[model.index_of(*value)]);
    }
    return shapes;
  };
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    const NodeInfo& node = model.nodes[i];
    const std::vector<Shape> shapes = input_shapes(node);
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      if (node.inputs[k] == nullptr) continue;
      const size_t value = model.index_of(*node.inputs[k]), by = writer[value];
      if (by == kNobody || readers[value] != 1 || model.nodes[by].outputs.size() != 1) continue;
      if (steps_[by].plan == nullptr) continue;
      const int64_t column = ops[i]->columns_of_input(k, shapes);
      if (column < 0) continue;
      const Shape& whole = shapes_[model.index_of(node.output())];
      auto plan =
          ops[by]->plan_with_stride(input_shapes(model.nodes[by]), {shapes_[value]}, whole.back());
      if (plan == nullptr) continue;
      steps_[by].plan = std::move(plan);
      slices_.push_back(
          {value, model.index_of(node.output()), column * dtype_size(model.values[value].dtype)});
    }
  }
}

void ExecutionPlan::assign_buffers(const Model& model, const Ops& ops) {
  Buffers buffers(model, static_cast<int>(model.nodes.size()));
  places_.resize(model.values.size());
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    const size_t index = model.index_of(*model.inputs[i]);
    graph_inputs_.push_back({bytes_[index], dtype_size(model.inputs[i]->dtype)});
    if (stays_with_caller(model, ops, *model.inputs[i])) {
      places_[index].graph_input = static_cast<int>(i);
    } else {
      buffers.create(index, bytes_[index], kBeforeFirst);
    }
  }

  std::vector<size_t> whole_of(model.values.size(), Buffers::kNone);
  for (const Slice& slice : slices_) whole_of[slice.value] = slice.whole;

  std::vector<size_t> scratch(model.nodes.size(), Buffers::kNone);
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    const NodeInfo& node = model.nodes[i];
    const auto step = static_cast<int>(i);
    const auto buffer_of_input = [&](size_t k) {
      const ValueInfo* value = node.inputs[k];
      return value == nullptr ? Buffers::kNone : buffers.of_value[model.index_of(*value)];
    };
    // The input that output 0 may replace: same size, needed by nobody later, read only once here.
    const auto replaceable = [&](size_t k) {
      const size_t buffer = buffer_of_input(k);
      if (buffer == Buffers::kNone || !ops[i]->can_overwrite(k)) return false;
      if (buffers.requests[buffer].last != step) return false;
      if (bytes_[model.index_of(*node.inputs[k])] != bytes_[model.index_of(node.output())]) {
        return false;
      }
      for (size_t other = 0; other < node.inputs.size(); ++other) {
        if (other != k && buffer_of_input(other) == buffer) return false;
      }
      return true;
    };

    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const size_t index = model.index_of(*node.outputs[k]);
      if (buffers.of_value[index] != Buffers::kNone) continue;  // parts of it are there already
      if (const size_t whole = whole_of[index]; whole != Buffers::kNone) {
        if (buffers.of_value[whole] == Buffers::kNone) buffers.create(whole, bytes_[whole], step);
        buffers.share(index, whole);
        continue;
      }
      size_t shared = Buffers::kNone;
      if (k == 0 && steps_[i].plan == nullptr) {
        shared = model.index_of(node.input(0));
      } else if (k == 0) {
        for (size_t input = 0; input < node.inputs.size() && shared == Buffers::kNone; ++input) {
          if (replaceable(input)) shared = model.index_of(*node.inputs[input]);
        }
      }
      if (shared != Buffers::kNone) {
        buffers.share(index, shared);
      } else {
        buffers.create(index, bytes_[index], step);
      }
    }
    if (steps_[i].plan != nullptr && steps_[i].plan->scratch_bytes > 0) {
      const size_t bytes = std::min(steps_[i].plan->scratch_bytes, static_cast<size_t>(kMaxBytes));
      scratch[i] = buffers.requests.size();
      buffers.requests.push_back({static_cast<int64_t>(bytes), step, step});
    }
  }
  memory_ = plan_memory(buffers.requests);
  if (memory_.arena_bytes > physical_memory()) {
    throw Error(ErrorCode::out_of_memory, "a run needs " + mebibytes(memory_.arena_bytes) +
                                              " for its activations, and this machine has " +
                                              mebibytes(physical_memory()) +
                                              "; use a smaller batch or input");
  }

  place_values(model, buffers);
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    if (scratch[i] != Buffers::kNone) steps_[i].scratch_offset = memory_.offsets[scratch[i]];
  }
}

void ExecutionPlan::place_values(const Model& model, const Buffers& buffers) {
  for (size_t v = 0; v < model.values.size(); ++v) {
    if (model.values[v].is_constant()) {
      places_[v].constant = model.values[v].constant->data;
    } else if (buffers.of_value[v] != Buffers::kNone) {
      places_[v].offset = memory_.offsets[buffers.of_value[v]];
    }
  }
  for (const Slice& slice : slices_) places_[slice.value].offset += slice.offset;
  for (size_t i = 0; i < model.nodes.size(); ++i) {
    Step& step = steps_[i];
    step.first_input = step_inputs_.size();
    step.first_output = step_outputs_.size();
    for (const ValueInfo* value : model.nodes[i].inputs) {
      const Place place = value == nullptr ? Place{} : places_[model.index_of(*value)];
      if (place.graph_input >= 0) {
        bindings_.push_back({step_inputs_.size(), static_cast<size_t>(place.graph_input)});
      }
      step_inputs_.push_back(place);
    }
    for (const ValueInfo* value : model.nodes[i].outputs) {
      step_outputs_.push_back(places_[model.index_of(*value)]);
    }
  }
}

void ExecutionPlan::bind(const std::vector<const void*>& graph_inputs, Context& context) const {
  context.graph_inputs = graph_inputs;
  context.realigned.clear();
  for (const Binding& binding : bindings_) {
    const void*& data = context.graph_inputs[binding.graph_input];
    const GraphInput& input = graph_inputs_[binding.graph_input];
    if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(input.element_bytes) != 0) {
      const auto bytes = static_cast<size_t>(input.bytes);
      AlignedBuffer& copy = context.realigned.emplace_back(bytes);
      std::memcpy(copy.data(), data, bytes);
      data = copy.data();
    }
    context.inputs[binding.step_input] = data;
  }
}

const void* ExecutionPlan::data(size_t value, const Context& context) const {
  const Place& place = places_[value];
  if (place.constant != nullptr) return place.constant;
  if (place.graph_input >= 0) {
    return context.graph_inputs[static_cast<size_t>(place.graph_input)];
  }
  return context.arena.as<unsigned char>() + place.offset;
}

std::unique_ptr<ExecutionPlan::Context> ExecutionPlan::take_context() const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Context> context = std::move(free_.back());
      free_.pop_back();
      return context;
    }
  }
  auto context = std::make_unique<Context>();
  context->arena = AlignedBuffer(static_cast<size_t>(memory_.arena_bytes));
  unsigned char* arena = context->arena.as<unsigned char>();
  for (const Place& place : step_inputs_) {
    context->inputs.push_back(place.offset >= 0 ? arena + place.offset : place.constant);
  }
  for (const Place& place : step_outputs_) context->outputs.push_back(arena + place.offset);
  return context;
}

void ExecutionPlan::give_back(std::unique_ptr<Context> context) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.size() < kMaxIdleContexts) free_.push_back(std::move(context));
}

}  // namespace zeropoint
