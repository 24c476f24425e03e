#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "base/fp_environment.h"
#include "ops/plan.h"
#include "runtime/fusion.h"
#include "runtime/gguf.h"
#include "runtime/model_reader.h"

namespace zeropoint {
namespace {

constexpr size_t kMaxPlans = 16;
constexpr size_t kMaxListedNodes = 20;
// Each node packs its own weights. A file in which many share one constant may not take more memory
// than this, and so many times its size.
constexpr int64_t kFreePackedBytes = int64_t{64} << 20;
constexpr int64_t kMaxPackedGrowth = 16;
// Constants below this stay where they are.
constexpr int64_t kLeastDroppedBytes = 1 << 16;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

// Returns the context to its plan's free list, however the run ends.
class ContextLease {
 public:
  explicit ContextLease(const ExecutionPlan& plan) : plan_(plan), context_(plan.take_context()) {}
  ~ContextLease() {
    if (context_) plan_.give_back(std::move(context_));
  }
  ContextLease(const ContextLease&) = delete;
  ContextLease& operator=(const ContextLease&) = delete;

  ExecutionPlan::Context& operator*() { return *context_; }

 private:
  const ExecutionPlan& plan_;
  std::unique_ptr<ExecutionPlan::Context> context_;
};

// What is packed is not read again: a model's file need not stay in memory beside it.
void drop_constants(const Model& model, const NodeInfo& node) {
  for (const ValueInfo* value : node.inputs) {
    if (value == nullptr || !value->is_constant()) continue;
    const int64_t bytes = value->shape.elements() * dtype_size(value->dtype);
    if (bytes >= kLeastDroppedBytes) {
      drop_pages(model.file, value->constant->data, static_cast<size_t>(bytes));
    }
  }
}

}  // namespace

Session::Session(Model model, int threads, Isa isa, const BorderRequest& request, bool fuse,
                 const std::string& cache)
    : model_(std::move(model)),
      fuse_(fuse),
      unfused_nodes_(fuse ? join_nodes(model_) : std::vector<NodeInfo>{}),
      request_(request),
      border_(model_, request, isa),
      isa_(isa),
      pool_(threads) {
  std::optional<PackedCache> packed;
  if (!cache.empty()) packed.emplace(cache, model_, isa);
  if (!packed || !packed->vouches_for_model()) check_content(model_);
  store_ = std::make_unique<WeightStore>(packed ? packed->source() : nullptr,
                                         static_cast<size_t>(model_.constant_bytes));
  make_ops(threads);
  if (packed) cache_report_ = packed->update(*store_);
}

void Session::make_ops(int threads) {
  const ScopedFpEnvironment environment;  // packing may round
  const OpContext context{isa_mask(isa_), threads, store_.get()};
  std::vector<std::string> unsupported;
  for (const NodeInfo& node : model_.nodes) {
    try {
      // A joined node's weights are its first part's, as they are where nothing is joined.
      store_->begin_node((node.parts.empty() ? node : node.parts[0]).output().name);
      ops_.push_back(make_op(node, context));
      drop_constants(model_, node);
      packed_bytes_ += static_cast<int64_t>(ops_.back()->packed_bytes());
      if (packed_bytes_ > kFreePackedBytes + kMaxPackedGrowth * model_.file_bytes) {
        throw Error(ErrorCode::out_of_memory,
                    "packing its weights would take far more memory than the file has; many nodes "
                    "share one constant. Give them one node, or constants of their own");
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported) {
        rethrow_with_context(error, model_.source + ": " + node_label(node));
      }
      unsupported.push_back(node_label(node) + ": " + error.what());
    }
  }
  if (unsupported.empty()) return;
  std::string message = model_.source + ": cannot run " + std::to_string(unsupported.size()) +
                        (unsupported.size() == 1 ? " node: " : " nodes: ");
  for (size_t i = 0; i < std::min(unsupported.size(), kMaxListedNodes); ++i) {
    message += (i > 0 ? "; " : "") + unsupported[i];
  }
  if (unsupported.size() > kMaxListedNodes) message += "; and more";
  throw Error(ErrorCode::unsupported, message);
}

const Session& Session::unfused() const {
  std::call_once(unfused_once_, [this] {
    unfused_ = std::make_unique<Session>(
        with_nodes(model_, unfused_nodes_.empty() ? model_.nodes : unfused_nodes_), threads(), isa_,
        request_, false);
  });
  return *unfused_;
}

void Session::check_shapes(const std::vector<Shape>& input_shapes) const {
  if (input_shapes.size() != model_.inputs.size()) {
    throw Error(ErrorCode::invalid_argument,
                model_.source + ": takes " + std::to_string(model_.inputs.size()) +
                    " inputs, not " + std::to_string(input_shapes.size()));
  }
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    const Shape& wanted = model_.inputs[i]->shape;
    const Shape& given = input_shapes[i];
    bool fits = wanted.rank() == given.rank();
    for (int d = 0; fits && d < wanted.rank(); ++d) {
      fits = given[d] >= 1 && (wanted[d] == -1 || wanted[d] == given[d]);
    }
    if (!fits) {
      throw Error(ErrorCode::invalid_argument,
                  model_.source + ": input " + gguf::quoted(model_.inputs[i]->name) +
                      " has shape " + given.to_string() + "; the model takes " +
                      wanted.to_string() + " (? is any size of at least 1)");
    }
  }
}

std::shared_ptr<const ExecutionPlan> Session::plan(const std::vector<Shape>& input_shapes) const {
  const auto find = [&]() -> std::shared_ptr<const ExecutionPlan> {
    for (auto it = plans_.begin(); it != plans_.end(); ++it) {
      if ((*it)->input_shapes() != input_shapes) continue;
      std::rotate(plans_.begin(), it, it + 1);
      return plans_.front();
    }
    return nullptr;
  };
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (auto found = find()) return found;
  }
  // Made without the lock: other shapes go on meanwhile. Two threads may make the same plan; the
  // first to finish keeps its own.
  check_shapes(input_shapes);
  const ScopedFpEnvironment environment;
  auto made = std::make_shared<const ExecutionPlan>(model_, ops_, input_shapes, fuse_);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (auto found = find()) return found;
  plans_.insert(plans_.begin(), made);
  if (plans_.size() > kMaxPlans) plans_.pop_back();
  return made;
}

const Shape& Session::output_shape(const ExecutionPlan& plan, size_t i) const {
  return plan.shape(model_.index_of(*model_.outputs[i]));
}

int64_t Session::output_bytes(const ExecutionPlan& plan, size_t i) const {
  const ValueInfo& value = *model_.outputs[i];
  const int64_t bytes = plan.bytes(model_.index_of(value));
  return checked_mul(bytes / dtype_size(value.dtype), dtype_size(output_dtype(i)), "an output");
}

void Session::load_inputs(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
                          ExecutionPlan::Context& context) const {
  plan.bind(inputs, context);
  for (size_t i = 0; i < model_.inputs.size(); ++i) {
    const ValueInfo& value = *model_.inputs[i];
    const size_t index = model_.index_of(value);
    if (plan.place(index).graph_input >= 0) continue;  // read where the caller has it
    const auto* from = static_cast<const unsigned char*>(inputs[i]);
    unsigned char* to = context.arena.as<unsigned char>() + plan.place(index).offset;
    const int64_t from_size = dtype_size(input_dtype(i)), to_size = dtype_size(value.dtype);
    pool_.parallel_for(plan.shape(index).elements(), grain_for(0.05 * from_size),
                       [&](int64_t begin, int64_t end, int) {
                         border_.load(value, input_dtype(i), from + begin * from_size,
                                      to + begin * to_size, end - begin);
                       });
  }
}

void Session::run_step(const ExecutionPlan& plan, size_t index,
                       ExecutionPlan::Context& context) const {
  const ExecutionPlan::Step& step = plan.steps()[index];
  try {
    if (step.plan == nullptr) return;  // a view
    RunContext run{pool_, context.arena.as<unsigned char>() + step.scratch_offset};
    step.plan->run(context.inputs.data() + step.first_input,
                   context.outputs.data() + step.first_output, run);
  } catch (const Error& error) {
    rethrow_with_context(error, model_.source + ": " + node_label(model_.nodes[index]));
  }
}

const void* Session::value_data(const ExecutionPlan& plan, const ValueInfo& value,
                                ExecutionPlan::Context& context) const {
  return plan.data(model_.index_of(value), context);
}

void Session::run(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
                  const std::vector<void*>& outputs) const {
  const ScopedFpEnvironment environment;
  ContextLease context(plan);
  load_inputs(plan, inputs, *context);
  for (size_t i = 0; i < plan.steps().size(); ++i) run_step(plan, i, *context);
  store_outputs(plan, *context, outputs);
}

void Session::store_outputs(const ExecutionPlan& plan, ExecutionPlan::Context& context,
                            const std::vector<void*>& outputs) const {
  for (size_t i = 0; i < model_.outputs.size(); ++i) {
    const ValueInfo& value = *model_.outputs[i];
    border_.store(value, output_dtype(i), value_data(plan, value, context), outputs[i],
                  output_shape(plan, i).elements());
  }
}

void Session::observe(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
                      const std::vector<void*>& outputs, const Observer& observer) const {
  if (!unfused_nodes_.empty() || plan.has_slices()) {
    const Session& session = unfused();
    session.observe(*session.plan(plan.input_shapes()), inputs, outputs, observer);
    return;
  }
  // Shared with the observer: what it is shown stays readable memory even where it is kept for too
  // long.
  struct Shown {
    std::unique_ptr<ExecutionPlan::Context> context;
    std::vector<uint8_t> converted;
  };
  const auto shown = std::make_shared<Shown>();
  shown->context = plan.take_context();
  ExecutionPlan::Context& context = *shown->context;
  const auto show = [&](const ValueInfo& value) {
    const size_t index = model_.index_of(value);
    const void* data = value_data(plan, value, context);
    if (value.dtype == DType::s8 && kActOffset != 0) {
      shown->converted.resize(static_cast<size_t>(plan.bytes(index)));
      convert_domain(data, shown->converted.data(), plan.bytes(index));
      data = shown->converted.data();
    } else if (plan.place(index).graph_input >= 0) {  // the caller's memory may be gone by then
      const auto* bytes = static_cast<const uint8_t*>(data);
      shown->converted.assign(bytes, bytes + plan.bytes(index));
      data = shown->converted.data();
    }
    observer(value, plan.shape(index), data, shown);
  };
  {
    const ScopedFpEnvironment environment;
    load_inputs(plan, inputs, context);
  }
  for (const ValueInfo* value : model_.inputs) show(*value);
  for (size_t i = 0; i < plan.steps().size(); ++i) {
    {
      const ScopedFpEnvironment environment;
      run_step(plan, i, context);
    }
    for (const ValueInfo* value : model_.nodes[i].outputs) show(*value);
  }
  store_outputs(plan, context, outputs);
  if (shown.use_count() == 1) plan.give_back(std::move(shown->context));
}

Session::Profile Session::profile(const ExecutionPlan& plan, const std::vector<const void*>& inputs,
                                  int repeats) const {
  if (repeats < 1) {
    throw Error(ErrorCode::invalid_argument,
                "repeats must be at least 1, not " + std::to_string(repeats));
  }
  const ScopedFpEnvironment environment;
  ContextLease context(plan);
  const size_t nodes = plan.steps().size();
  std::vector<std::vector<double>> node_seconds(nodes);
  std::vector<double> run_seconds;
  for (int r = -1; r < repeats; ++r) {  // the first is to warm up
    load_inputs(plan, inputs, *context);
    for (size_t i = 0; i < nodes; ++i) {
      const auto start = std::chrono::steady_clock::now();
      run_step(plan, i, *context);
      if (r >= 0) node_seconds[i].push_back(seconds_since(start));
    }
    const auto start = std::chrono::steady_clock::now();
    load_inputs(plan, inputs, *context);
    for (size_t i = 0; i < nodes; ++i) run_step(plan, i, *context);
    if (r >= 0) run_seconds.push_back(seconds_since(start));
  }
  Profile profile;
  profile.run_seconds = median(std::move(run_seconds));
  for (std::vector<double>& seconds : node_seconds) {
    profile.node_seconds.push_back(median(std::move(seconds)));
  }
  return profile;
}

std::vector<Session::NodeRow> Session::nodes(const ExecutionPlan& plan) const {
  std::vector<NodeRow> rows;
  for (size_t i = 0; i < model_.nodes.size(); ++i) {
    const NodeInfo& node = model_.nodes[i];
    NodeRow row;
    row.node = &node;
    row.precision = dtype_name(node.output().dtype);
    for (const ValueInfo* value : node.inputs) {
      if (value == nullptr || value->is_constant()) continue;
      row.precision = dtype_name(value->dtype);
      break;
    }
    if (const Plan* step = plan.steps()[i].plan.get()) {
      row.kernel = step->kernel;
      if (!row.kernel.empty()) row.isa = isa_name(step->isa);
      row.macs = step->macs;
    }
    row.output_shape = plan.shape(model_.index_of(node.output()));
    rows.push_back(std::move(row));
  }
  return rows;
}

Session::Memory Session::memory(const ExecutionPlan& plan) const {
  return {model_.file_bytes, model_.constant_bytes, packed_bytes_, plan.arena_bytes()};
}

}  // namespace zeropoint
