// Writes model files byte by byte, for tests: valid ones, and ones that no writer would make.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace zeropoint::test {

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(&bytes[0], &value, sizeof value);
  return bytes;
}
inline std::string raw_string(const std::string& text) { return raw<uint64_t>(text.size()) + text; }

// GGUF's numbers for value types and for tensor types.
enum : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kString = 8, kArray = 9, kI64 = 11, kF64 = 12 };
enum : uint32_t { kTensorF32 = 0, kTensorI8 = 24, kTensorI32 = 26, kTensorI64 = 27 };

// One key's value with its type in front.
template <typename T>
std::string scalar(uint32_t type, T value) {
  return raw(type) + raw(value);
}
inline std::string text(const std::string& value) {
  return raw<uint32_t>(kString) + raw_string(value);
}
template <typename T>
std::string array(uint32_t type, const std::vector<T>& items) {
  std::string bytes = raw<uint32_t>(kArray) + raw(type) + raw<uint64_t>(items.size());
  for (const T& item : items) bytes += raw(item);
  return bytes;
}
inline std::string texts(const std::vector<std::string>& items) {
  std::string bytes = raw<uint32_t>(kArray) + raw<uint32_t>(kString) + raw<uint64_t>(items.size());
  for (const std::string& item : items) bytes += raw_string(item);
  return bytes;
}

struct TensorEntry {
  std::string name;
  std::vector<uint64_t> dims;  // fastest first
  uint32_t type = kTensorF32;
  std::string data;
  int64_t offset = -1;  // in the tensor data; -1: behind the tensor before it
};

// The container. Keys may be replaced or removed before the bytes are made.
struct GgufBuilder {
  uint32_t version = 3;
  uint64_t alignment = 64;
  std::vector<std::pair<std::string, std::string>> keys;
  std::vector<TensorEntry> tensors;

  void set(const std::string& key, const std::string& value) {
    for (auto& item : keys) {
      if (item.first == key) {
        item.second = value;
        return;
      }
    }
    keys.emplace_back(key, value);
  }
  void remove(const std::string& key) {
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i].first == key) keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(i--));
    }
  }

  std::string bytes() const {
    std::string out =
        "GGUF" + raw(version) + raw<uint64_t>(tensors.size()) + raw<uint64_t>(keys.size());
    for (const auto& item : keys) out += raw_string(item.first) + item.second;
    std::string data;
    for (const TensorEntry& tensor : tensors) {
      data.resize((data.size() + alignment - 1) / alignment * alignment);
      out += raw_string(tensor.name) + raw(static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t dim : tensor.dims) out += raw(dim);
      const auto behind = static_cast<int64_t>(data.size());
      out += raw(tensor.type) + raw<int64_t>(tensor.offset < 0 ? behind : tensor.offset);
      data += tensor.data;
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }
};

// A model: values and nodes on top of the container.
class ModelBuilder {
 public:
  struct ValueRow {
    std::string name, dtype;
    std::vector<int64_t> dims;
    float scale = 0.0f;
    int32_t zero_point = 0;
    int32_t axis = -1;
  };

  std::vector<ValueRow> values;
  std::vector<std::string> inputs, outputs;
  GgufBuilder file;

  void value(const std::string& name, const std::string& dtype, const std::vector<int64_t>& dims,
             float scale = 0.0f, int32_t zero_point = 0) {
    values.push_back({name, dtype, dims, scale, zero_point, -1});
  }
  template <typename T>
  void constant(const std::string& name, const std::string& dtype, uint32_t type,
                const std::vector<int64_t>& dims, const std::vector<T>& data) {
    value(name, dtype, dims);
    tensor(name, type, {dims.rbegin(), dims.rend()}, data);
  }
  template <typename T>
  void tensor(const std::string& name, uint32_t type, const std::vector<uint64_t>& dims,
              const std::vector<T>& data) {
    std::string bytes;
    for (const T& item : data) bytes += raw(item);
    file.tensors.push_back({name, dims, type, bytes});
  }
  // Returns the prefix of the node's keys; attributes are set in `file` under it.
  std::string node(const std::string& op, const std::vector<std::string>& in,
                   const std::vector<std::string>& out) {
    const std::string prefix = "zeropoint.node." + std::to_string(nodes_) + ".";
    file.set(prefix + "name", text(op + std::to_string(nodes_)));
    file.set(prefix + "op", text(op));
    if (!in.empty()) file.set(prefix + "inputs", texts(in));
    file.set(prefix + "outputs", texts(out));
    ++nodes_;
    return prefix + "attr.";
  }

  // Fills in the keys that follow from values and nodes.
  GgufBuilder build() const {
    GgufBuilder b = file;
    b.set("general.architecture", text("zeropoint"));
    b.set("general.alignment", scalar<uint32_t>(kU32, static_cast<uint32_t>(file.alignment)));
    b.set("general.name", text("test"));
    b.set("zeropoint.format_version", scalar<uint32_t>(kU32, 1));
    b.set("zeropoint.producer", text("tests"));
    b.set("zeropoint.inputs", texts(inputs));
    b.set("zeropoint.outputs", texts(outputs));
    std::vector<std::string> names, dtypes;
    std::vector<uint32_t> ranks;
    std::vector<int64_t> dims;
    std::vector<float> scales;
    std::vector<int32_t> zero_points, axes;
    for (const ValueRow& v : values) {
      names.push_back(v.name);
      dtypes.push_back(v.dtype);
      ranks.push_back(static_cast<uint32_t>(v.dims.size()));
      dims.insert(dims.end(), v.dims.begin(), v.dims.end());
      scales.push_back(v.scale);
      zero_points.push_back(v.zero_point);
      axes.push_back(v.axis);
    }
    b.set("zeropoint.value.name", texts(names));
    b.set("zeropoint.value.dtype", texts(dtypes));
    b.set("zeropoint.value.rank", array<uint32_t>(kU32, ranks));
    b.set("zeropoint.value.dims", array<int64_t>(kI64, dims));
    b.set("zeropoint.value.scale", array<float>(kF32, scales));
    b.set("zeropoint.value.zero_point", array<int32_t>(kI32, zero_points));
    b.set("zeropoint.value.axis", array<int32_t>(kI32, axes));
    b.set("zeropoint.node.count", scalar<uint32_t>(kU32, static_cast<uint32_t>(nodes_)));
    return b;
  }
  std::string bytes() const { return build().bytes(); }

 private:
  int nodes_ = 0;
};

// x float32 [?, 4] -> quantize -> add of an int8 constant per tensor -> linear with per-channel
// weights and bias -> dequantize -> y float32 [?, 3].
inline ModelBuilder small_model() {
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"y"};
  m.value("x", "float32", {-1, 4});
  m.value("xq", "int8", {-1, 4}, 0.05f, 3);
  m.value("h", "int8", {-1, 3}, 0.1f, -7);
  m.value("y", "float32", {-1, 3});
  m.constant<int8_t>("w", "int8", kTensorI8, {3, 4}, {1, -2, 3, -4, 5, 6, 7, -8, 9, 10, -127, 12});
  m.values.back().axis = 0;
  m.tensor<float>("w.scale", kTensorF32, {3}, {0.02f, 0.03f, 0.04f});
  m.tensor<int32_t>("w.zero_point", kTensorI32, {3}, {0, 0, 0});
  m.constant<int32_t>("b", "int32", kTensorI32, {3}, {100, -200, 300});
  m.node("quantize", {"x"}, {"xq"});
  m.node("linear", {"xq", "w", "b"}, {"h"});
  m.node("dequantize", {"h"}, {"y"});
  return m;
}

}  // namespace zeropoint::test
