// Everything about running a model that depends on the concrete shapes of its inputs.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/op.h"
#include "runtime/memory_plan.h"
#include "runtime/model.h"

namespace zeropoint {

// An Op for each of the model's nodes, in order.
using Ops = std::vector<std::unique_ptr<Op>>;

class ExecutionPlan {
 public:
  // Where a value's bytes are during a run.
  struct Place {
    int64_t offset = -1;             // in the arena, or
    const void* constant = nullptr;  // in the model file, or
    int graph_input = -1;            // where the caller has this graph input
  };

  struct Step {
    std::unique_ptr<Plan> plan;  // nullptr: a view, nothing runs
    size_t first_input = 0;      // in Context::inputs
    size_t first_output = 0;     // in Context::outputs
    int64_t scratch_offset = 0;
  };

  // One run's memory. Pointers are resolved once, when the context is made, but for those into the
  // caller's memory.
  struct Context {
    AlignedBuffer arena;
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    std::vector<const void*> graph_inputs;  // as bound
    std::vector<AlignedBuffer> realigned;   // copies of graph inputs at odd addresses
  };

  // With `slices`, values that are only joined with others are written where they are joined, if
  // their operators can: they are not dense then, and mean nothing to observers.
  ExecutionPlan(const Model& model, const Ops& ops, const std::vector<Shape>& input_shapes,
                bool slices = false);

  const std::vector<Shape>& input_shapes() const { return input_shapes_; }
  const std::vector<Step>& steps() const { return steps_; }
  // By index of value; meaningful for constants, graph inputs and what nodes write.
  const Shape& shape(size_t value) const { return shapes_[value]; }
  int64_t bytes(size_t value) const;
  bool has_slices() const { return !slices_.empty(); }
  const Place& place(size_t value) const { return places_[value]; }
  int64_t arena_bytes() const { return memory_.arena_bytes; }

  // Lets steps read the caller's memory where places say so, during this run.
  void bind(const std::vector<const void*>& graph_inputs, Context& context) const;
  // Where a value's bytes are in a run that has been bound.
  const void* data(size_t value, const Context& context) const;

  // A context from the free list, or a new one; give it back when the run is over.
  std::unique_ptr<Context> take_context() const;
  void give_back(std::unique_ptr<Context> context) const;

 private:
  struct Buffers;  // lifetimes, while planning

  void infer_shapes(const Model& model, const Ops& ops);
  void find_slices(const Model& model, const Ops& ops);
  void assign_buffers(const Model& model, const Ops& ops);
  void place_values(const Model& model, const Buffers& buffers);

  std::vector<Shape> input_shapes_;
  std::vector<Shape> shapes_;
  std::vector<int64_t> bytes_;
  std::vector<Place> places_;
  std::vector<Step> steps_;
  std::vector<Place> step_inputs_;
  std::vector<Place> step_outputs_;
  struct Binding {
    size_t step_input;
    size_t graph_input;
  };
  struct Slice {
    size_t value, whole;  // what is part of what
    int64_t offset;       // in bytes
  };
  std::vector<Slice> slices_;
  std::vector<Binding> bindings_;  // of step inputs in the caller's memory
  struct GraphInput {
    int64_t bytes, element_bytes;
  };
  std::vector<GraphInput> graph_inputs_;
  MemoryPlan memory_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Context>> free_;
};

// "node 'conv1' (conv2d)", for messages.
std::string node_label(const NodeInfo& node);

}  // namespace zeropoint
