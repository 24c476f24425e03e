// The contract between operators and the runtime.
//
// An operator lives in two halves. The Op is made once, when a model is loaded: it checks the node
// (attributes, dtypes, constants), chooses kernels and packs weights. A Plan is made once per set
// of concrete input shapes: offset tables, splits, scratch size. Both are immutable afterwards and
// shared by all threads; a run touches only the buffers it is handed.
//
// Operators throw Error with a message about the node's content; the runtime adds the node's name,
// operator and file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/shape.h"
#include "base/thread_pool.h"
#include "cpu/isa.h"
#include "quant/requantize.h"

namespace zeropoint {

// A constant's bytes, in the memory-mapped file. int8 constants keep the file's domain (int8, file
// zero points); operators convert what they use as activations with to_stored().
struct Constant {
  const void* data = nullptr;
  // Scales and zero points along `axis`; one entry and axis -1 for per-tensor; empty: not
  // quantized.
  std::vector<float> scales;
  std::vector<int32_t> zero_points;
  int axis = -1;

  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// What the model says about a value before shapes are concrete.
struct ValueInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;                         // -1: free. For constants always concrete.
  bool quantized = false;              // int8 with per-tensor scale and zero point
  QuantParams quant;                   // stored domain (zero_point + kActOffset); activations only
  std::unique_ptr<Constant> constant;  // nullptr for activations

  bool is_constant() const { return constant != nullptr; }
};

// A node's attributes, typed as in the file.
class Attributes {
 public:
  using Value =
      std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;
  void set(const std::string& key, Value value);
  bool has(const std::string& key) const;
  // Getters throw Error(invalid_model) when the key is absent (no default given) or of another
  // type.
  int64_t get_int(const std::string& key) const;
  int64_t get_int(const std::string& key, int64_t fallback) const;
  double get_float(const std::string& key) const;
  double get_float(const std::string& key, double fallback) const;
  std::string get_string(const std::string& key, const std::string& fallback) const;
  std::vector<int64_t> get_ints(const std::string& key) const;
  std::vector<int64_t> get_ints(const std::string& key, std::vector<int64_t> fallback) const;
  std::vector<double> get_floats(const std::string& key) const;

 private:
  const Value* find(const std::string& key) const;
  std::vector<std::pair<std::string, Value>> items_;
};

struct NodeInfo {
  std::string name;
  std::string op;
  std::vector<const ValueInfo*> inputs;  // nullptr: optional input left out
  std::vector<const ValueInfo*> outputs;
  Attributes attributes;
  std::string reason;  // why it stayed float, for people; empty otherwise
  // Of a fused node (runtime/fusion.h): the nodes that it was made of, in order.
  std::vector<NodeInfo> parts;

  const ValueInfo& input(size_t i) const;  // throws when absent
  const ValueInfo* optional_input(size_t i) const;
  const ValueInfo& output(size_t i = 0) const;
};

struct RunContext {
  ThreadPool& pool;
  void* scratch;  // Plan::scratch_bytes, 64-byte aligned, kOverreadBytes readable past the end
};

class Plan {
 public:
  virtual ~Plan() = default;
  // One pointer per node input (constants included, nullptr where left out) and per output.
  // Activation buffers are 64-byte aligned and readable kOverreadBytes past their end.
  virtual void run(const void* const* inputs, void* const* outputs, RunContext& context) const = 0;

  size_t scratch_bytes = 0;
  int64_t macs = 0;
  // For explain(): the kernel chosen ("" where the operator only moves data).
  std::string kernel;
  Isa isa = Isa::portable;
};

class WeightStore;  // ops/weight_store.h

// What an operator may know when it is made.
struct OpContext {
  IsaMask isa;
  int threads = 1;
  // Where packed weights are kept; nullptr: each operator keeps its own. Outlives the operators.
  WeightStore* store = nullptr;
};

struct FusedAdd;  // ops/fused.h

class Op {
 public:
  virtual ~Op() = default;
  // Output shapes for concrete input shapes (constants included).
  virtual std::vector<Shape> infer(const std::vector<Shape>& inputs) const = 0;
  // nullptr where is_view() is true.
  virtual std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                                     const std::vector<Shape>& outputs) const = 0;
  // A plan that also adds input `add.input` to what plan()'s would store, of shape outputs[0] as
  // well, each step rounded on its own; nullptr where the operator cannot.
  virtual std::unique_ptr<Plan> plan_with_add(const std::vector<Shape>& inputs,
                                              const std::vector<Shape>& outputs,
                                              const FusedAdd& add) const;
  // plan()'s, but the rows of the output (along its last axis) start row_stride elements apart, so
  // that it fills columns of a wider tensor; nullptr where the operator cannot.
  virtual std::unique_ptr<Plan> plan_with_stride(const std::vector<Shape>& inputs,
                                                 const std::vector<Shape>& outputs,
                                                 int64_t row_stride) const;
  // The first of the columns (along the last axis) of output 0 that are input i unchanged: whoever
  // writes the input may write it there, and a run then leaves it. -1: there are none.
  virtual int64_t columns_of_input(size_t input, const std::vector<Shape>& inputs) const {
    (void)input;
    (void)inputs;
    return -1;
  }
  // Output 0 is input 0's bytes under another shape (reshape and its kin): nothing runs. Never so
  // where input 0 is a constant, whose bytes are not in the stored domain.
  virtual bool is_view() const { return false; }
  // Output 0 may be written over input i's buffer (elementwise, same size), when nobody else
  // needs that input any more.
  virtual bool can_overwrite(size_t input) const {
    (void)input;
    return false;
  }
  // Does a run read nothing outside the bytes of input i, and those at any multiple of the
  // element's size? Then a graph input may be read where the caller has it.
  virtual bool reads_exactly(size_t input) const {
    (void)input;
    return false;
  }
  // Bytes of packed weights held, for memory reports.
  virtual size_t packed_bytes() const { return 0; }
};

using OpFactory = std::unique_ptr<Op> (*)(const NodeInfo&, const OpContext&);

struct OpEntry {
  const char* name;
  OpFactory make;
};

// Every operator of this build, by name.
const std::vector<OpEntry>& op_entries();
// Makes the node's operator; Error(unsupported) naming the operator when it is unknown.
std::unique_ptr<Op> make_op(const NodeInfo& node, const OpContext& context);

}  // namespace zeropoint
