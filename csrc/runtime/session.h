// A model made ready to run: operators chosen and packed once, plans cached per input shapes.
//
// A Session is immutable to its users and may be used by any number of threads at once: each run
// takes memory of its own. Results do not depend on the number of threads, on the ISA level or on
// what else is running.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/isa.h"
#include "runtime/border.h"
#include "runtime/execution_plan.h"
#include "runtime/model.h"
#include "runtime/packed_cache.h"

namespace zeropoint {

class Session {
 public:
  // `threads` decides how work is split (see ThreadPool); `isa` caps the kernels that may be
  // chosen. Every node that this build cannot run is named in one Error(unsupported).
  // `request` is what callers want to see at the border. `fuse` joins nodes where that saves time
  // (runtime/fusion.h); results are the same without. `cache` is where packed weights are kept for
  // later sessions (runtime/packed_cache.h): a file, or a folder; "": nowhere.
  Session(Model model, int threads, Isa isa, const BorderRequest& request = {}, bool fuse = true,
          const std::string& cache = {});

  const Model& model() const { return model_; }
  int threads() const { return pool_.size(); }
  Isa isa() const { return isa_; }
  const CacheReport& cache() const { return cache_report_; }

  // The plan for these input shapes, from the cache or made now. Error(invalid_argument) when a
  // shape does not fit the model's.
  std::shared_ptr<const ExecutionPlan> plan(const std::vector<Shape>& input_shapes) const;

  // Shape and bytes of graph output i under a plan.
  const Shape& output_shape(const ExecutionPlan& plan, size_t i) const;
  int64_t output_bytes(const ExecutionPlan& plan, size_t i) const;

  // The dtypes of graph input and output i as callers see them.
  DType input_dtype(size_t i) const { return border_.input_dtype(i); }
  DType output_dtype(size_t i) const { return border_.output_dtype(i); }

  // inputs[i] is graph input i of input_dtype(i), dense and row-major, of the plan's shape;
  // outputs[i] receives graph output i. int8 is in the file's domain on both sides.
  void run(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
           const std::vector<void*>& outputs) const;

  // As run(), and shows every activation on the way: graph inputs first, then each node's outputs.
  // `data` is dense, int8 in the file's domain, and valid during the call only. What the observer
  // throws ends the run and passes through. `owner` keeps the memory behind `data` alive.
  // Nodes run as they are in the file, also where a session has joined them.
  using Observer = std::function<void(const ValueInfo& value, const Shape& shape, const void* data,
                                      const std::shared_ptr<const void>& owner)>;
  void observe(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
               const std::vector<void*>& outputs, const Observer& observer) const;

  // Medians over `repeats` runs, after one run to warm up.
  struct Profile {
    double run_seconds = 0.0;          // a whole run, without timing its nodes
    std::vector<double> node_seconds;  // one a node
  };
  Profile profile(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
                  int repeats) const;

  // What is known about each node without running it.
  struct NodeRow {
    const NodeInfo* node = nullptr;
    const char* precision = "";  // dtype of its first activation
    std::string kernel;          // "" where the operator only moves data
    std::string isa;             // of the kernel
    int64_t macs = 0;
    Shape output_shape;
  };
  std::vector<NodeRow> nodes(const ExecutionPlan& plan) const;

  struct Memory {
    int64_t file_bytes = 0;
    int64_t constant_bytes = 0;  // of the model's constants, mapped from the file
    int64_t packed_bytes = 0;    // weights packed for the kernels
    int64_t arena_bytes = 0;     // activations and scratch of one run
  };
  Memory memory(const ExecutionPlan& plan) const;

 private:
  void make_ops(int threads);
  void check_shapes(const std::vector<Shape>& input_shapes) const;
  void load_inputs(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
                   ExecutionPlan::Context& context) const;
  void store_outputs(const ExecutionPlan& plan, ExecutionPlan::Context& context,
                     const std::vector<void*>& outputs) const;
  void run_step(const ExecutionPlan& plan, size_t index, ExecutionPlan::Context& context) const;
  const void* value_data(const ExecutionPlan& plan, const ValueInfo& value,
                         ExecutionPlan::Context& context) const;

  // The session without fusion, made when it is first needed.
  const Session& unfused() const;

  Model model_;
  bool fuse_;
  std::vector<NodeInfo> unfused_nodes_;  // as in the file, where some were joined
  BorderRequest request_;
  Border border_;
  Isa isa_;
  mutable ThreadPool pool_;
  std::unique_ptr<WeightStore> store_;  // before the operators that read from it
  Ops ops_;
  int64_t packed_bytes_ = 0;
  CacheReport cache_report_;
  mutable std::once_flag unfused_once_;
  mutable std::unique_ptr<Session> unfused_;

  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const ExecutionPlan>> plans_;  // most recently used first
};

}  // namespace zeropoint
