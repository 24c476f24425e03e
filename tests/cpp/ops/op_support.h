// Runs one operator by itself: the node is built by hand, the operator is made, planned and run on
// every ISA level that the CPU has, with one and with three threads, and over its own input where
// it allows that; all the runs must give the same bytes.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "ops/op.h"
#include "support.h"

namespace zeropoint::test {

// A tensor's dense data; int8 is in the stored domain, constants included.
struct Tensor {
  DType dtype = DType::f32;
  Shape shape;
  QuantParams quant;
  std::vector<uint8_t> bytes;

  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
  template <typename T>
  T at(int64_t i) const {
    return data<T>()[i];
  }
  int64_t elements() const { return shape.elements(); }
};

inline Tensor make_tensor(DType dtype, const Shape& shape, QuantParams quant = {}) {
  Tensor t{dtype, shape, quant, {}};
  t.bytes.resize(static_cast<size_t>(shape.elements() * dtype_size(dtype)));
  return t;
}

// Any bytes for int8 and integers; for float32 values of [-4, 4], all exact multiples of 1/64 so
// that ties and equal values occur.
inline Tensor random_tensor(DType dtype, const Shape& shape, std::mt19937_64& g,
                            QuantParams quant = {}) {
  Tensor t = make_tensor(dtype, shape, quant);
  if (dtype == DType::f32) {
    for (int64_t i = 0; i < t.elements(); ++i) {
      t.data<float>()[i] = static_cast<float>(uniform(g, -256, 256)) / 64.0f;
    }
  } else {
    for (uint8_t& b : t.bytes) b = static_cast<uint8_t>(uniform(g, 0, 255));
  }
  return t;
}

inline QuantParams random_quant(std::mt19937_64& g) {
  return {static_cast<float>(uniform(g, 1, 1000)) / 8192.0f,
          static_cast<int32_t>(uniform(g, kActMin, kActMax))};
}

// Calls f with every index of a shape, in row-major order.
inline void for_each_index(const Shape& shape,
                           const std::function<void(const std::vector<int64_t>&)>& f) {
  if (shape.elements() == 0) return;
  std::vector<int64_t> index(static_cast<size_t>(shape.rank()), 0);
  while (true) {
    f(index);
    int axis = shape.rank() - 1;
    while (axis >= 0 && ++index[static_cast<size_t>(axis)] == shape[axis]) {
      index[static_cast<size_t>(axis--)] = 0;
    }
    if (axis < 0) return;
  }
}

// The position of an index in a dense tensor; dimensions of size 1 broadcast, and so do missing
// leading ones.
inline int64_t position(const Shape& shape, const std::vector<int64_t>& index) {
  const size_t skipped = index.size() - static_cast<size_t>(shape.rank());
  int64_t at = 0;
  for (int i = 0; i < shape.rank(); ++i) {
    at = at * shape[i] + (shape[i] == 1 ? 0 : index[skipped + static_cast<size_t>(i)]);
  }
  return at;
}

class OpTest {
 public:
  explicit OpTest(const std::string& op) {
    node_.name = "node";
    node_.op = op;
  }

  template <typename Value>
  OpTest& attribute(const std::string& key, Value value) {
    node_.attributes.set(key, Attributes::Value(std::move(value)));
    return *this;
  }
  OpTest& ints(const std::string& key, std::vector<int64_t> value) {
    return attribute(key, std::move(value));
  }
  OpTest& integer(const std::string& key, int64_t value) { return attribute(key, value); }
  OpTest& real(const std::string& key, double value) { return attribute(key, value); }
  OpTest& text(const std::string& key, const std::string& value) { return attribute(key, value); }

  OpTest& input(const Tensor& tensor) {
    node_.inputs.push_back(&add_value(tensor.dtype, tensor.shape, tensor.quant));
    tensors_.push_back(tensor);
    return *this;
  }
  // The same as a constant of the file, where int8 is in the file's domain.
  OpTest& constant(const Tensor& tensor) {
    ValueInfo& value = add_value(tensor.dtype, tensor.shape, tensor.quant);
    value.constant = std::make_unique<Constant>();
    auto held = std::make_unique<std::vector<uint8_t>>(tensor.bytes);
    if (tensor.dtype == DType::s8) {
      for (uint8_t& b : *held) b = static_cast<uint8_t>(b - kActOffset);
      value.constant->scales = {tensor.quant.scale};
      value.constant->zero_points = {tensor.quant.zero_point - kActOffset};
    }
    value.constant->data = held->data();
    constants_.push_back(std::move(held));
    node_.inputs.push_back(&value);
    tensors_.push_back(tensor);
    return *this;
  }
  OpTest& no_input() {
    node_.inputs.push_back(nullptr);
    tensors_.emplace_back();
    return *this;
  }
  OpTest& output(DType dtype, QuantParams quant = {}) {
    node_.outputs.push_back(&add_value(dtype, Shape{}, quant));
    return *this;
  }

  NodeInfo& node() { return node_; }
  ValueInfo& value(size_t i) { return *values_[i]; }

  std::unique_ptr<Op> make(Isa isa = Isa::portable, int threads = 1) const {
    return make_op(node_, OpContext{isa_mask(isa), threads});
  }

  // The shapes of the inputs.
  std::vector<Shape> shapes() const {
    std::vector<Shape> shapes;
    for (const Tensor& t : tensors_) shapes.push_back(t.shape);
    return shapes;
  }

  // The outputs, the same from all runs.
  std::vector<Tensor> run() const {
    std::vector<Tensor> first;
    std::set<Isa> exercised;
    for (Isa isa : detected_isa_levels()) {
      for (int threads : {1, 3}) {
        INFO("operator " << node_.op << ", ISA level " << isa_name(isa) << ", " << threads
                         << " threads");
        ThreadPool pool(threads);
        const std::unique_ptr<Op> op = make(isa, threads);
        std::vector<Tensor> outputs = run_once(*op, pool, kSeparate);
        if (first.empty()) {
          first = std::move(outputs);
        } else {
          check_same(outputs, first);
        }
        for (size_t i = 0; i < tensors_.size(); ++i) {
          if (!op->is_view() && op->can_overwrite(i) &&
              tensors_[i].bytes.size() == first[0].bytes.size()) {
            INFO("over input " << i);
            check_same(run_once(*op, pool, i), first);
          }
        }
        exercised.insert(isa);
      }
    }
    require_all_levels(node_.op.c_str(), exercised, {});
    return first;
  }

  // The message of the Error that making, inferring or planning throws; "" when nothing throws.
  std::string error() const {
    try {
      const std::unique_ptr<Op> op = make();
      const std::vector<Shape> outputs = op->infer(shapes());
      if (!op->is_view()) op->plan(shapes(), outputs);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

 private:
  static constexpr size_t kSeparate = static_cast<size_t>(-1);
  static constexpr uint8_t kGuard = 0xA5;

  ValueInfo& add_value(DType dtype, const Shape& shape, QuantParams quant) {
    values_.push_back(std::make_unique<ValueInfo>());
    ValueInfo& value = *values_.back();
    value.name = "v" + std::to_string(values_.size() - 1);
    value.dtype = dtype;
    value.shape = shape;
    value.quantized = dtype == DType::s8;
    value.quant = quant;
    return value;
  }

  static void check_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i].shape == b[i].shape);
      CHECK(a[i].bytes == b[i].bytes);
    }
  }

  // Runs with output 0 over input `overwritten`, or with buffers of their own.
  std::vector<Tensor> run_once(const Op& op, ThreadPool& pool, size_t overwritten) const {
    const std::vector<Shape> output_shapes = op.infer(shapes());
    REQUIRE(output_shapes.size() == node_.outputs.size());
    std::vector<AlignedBuffer> buffers;
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (node_.inputs[i] == nullptr) {
        inputs.push_back(nullptr);
      } else if (node_.inputs[i]->is_constant()) {
        inputs.push_back(node_.inputs[i]->constant->data);
      } else {
        buffers.emplace_back(tensors_[i].bytes.size());
        if (!tensors_[i].bytes.empty()) {
          std::memcpy(buffers.back().data(), tensors_[i].bytes.data(), tensors_[i].bytes.size());
        }
        inputs.push_back(buffers.back().data());
      }
    }
    std::vector<Tensor> results;
    for (size_t i = 0; i < output_shapes.size(); ++i) {
      results.push_back(make_tensor(node_.outputs[i]->dtype, output_shapes[i]));
      const size_t bytes = results.back().bytes.size();
      if (i == 0 && overwritten != kSeparate) {
        outputs.push_back(const_cast<void*>(inputs[overwritten]));
        continue;
      }
      buffers.emplace_back(bytes + kOverreadBytes);
      std::memset(buffers.back().data(), kGuard, bytes + kOverreadBytes);
      outputs.push_back(buffers.back().data());
    }
    if (op.is_view()) {
      CHECK(op.plan(shapes(), output_shapes) == nullptr);
      REQUIRE(results[0].bytes.size() == tensors_[0].bytes.size());
      results[0].bytes = tensors_[0].bytes;
      return results;
    }
    const std::unique_ptr<Plan> plan = op.plan(shapes(), output_shapes);
    REQUIRE(plan != nullptr);
    const AlignedBuffer scratch(plan->scratch_bytes);
    RunContext context{pool, const_cast<void*>(scratch.data())};
    plan->run(inputs.data(), outputs.data(), context);
    for (size_t i = 0; i < results.size(); ++i) {
      const auto* from = static_cast<const uint8_t*>(outputs[i]);
      const size_t bytes = results[i].bytes.size();
      if (bytes > 0) std::memcpy(results[i].bytes.data(), from, bytes);
      if (i == 0 && overwritten != kSeparate) continue;
      bool intact = true;
      for (size_t k = 0; k < kOverreadBytes; ++k) intact = intact && from[bytes + k] == kGuard;
      INFO("output " << i << " was written past its end");
      CHECK(intact);
    }
    return results;
  }

  NodeInfo node_;
  std::vector<std::unique_ptr<ValueInfo>> values_;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> constants_;
  std::vector<Tensor> tensors_;
};

// Bit for bit, except that any NaN equals any other.
inline bool same_float(float a, float b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace zeropoint::test
