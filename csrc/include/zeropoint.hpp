// zeropoint: int8 neural-network inference for CPUs, the C++17 interface.
//
// Header-only, over the C interface of zeropoint.h, whose comments hold here as well. Failures are
// zp::Error. A Session may be used by any number of threads at once.
//
//   zp::Session session("model.gguf");
//   zp::Tensor x(session.inputs()[0].dtype, {1, 224, 224, 3});
//   std::fill_n(x.as<float>(), x.elements(), 0.5f);
//   std::vector<zp::Tensor> y = session.run({x});
#ifndef ZEROPOINT_HPP_
#define ZEROPOINT_HPP_

#include <zeropoint.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Not the engine's own namespace: a program links both.
namespace zp {

class Error : public std::runtime_error {
 public:
  Error(zp_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  zp_status status() const { return status_; }

 private:
  zp_status status_;
};

inline void check(zp_status status) {
  if (status != ZP_OK) throw Error(status, zp_last_error());
}

inline std::string version() { return zp_version(); }

struct IsaLevel {
  std::string name;
  std::string features;
  bool detected = false;
};

// Every level built in, lowest first.
inline std::vector<IsaLevel> isa_levels() {
  std::vector<IsaLevel> levels;
  for (size_t i = 0; i < zp_isa_count(); ++i) {
    zp_isa_level level{};
    check(zp_isa_at(i, &level));
    levels.push_back({level.name, level.features, level.detected != 0});
  }
  return levels;
}

using Shape = std::vector<int64_t>;

inline zp_shape to_c(const Shape& shape) {
  zp_shape c{};
  if (shape.size() > ZP_MAX_RANK) {
    throw Error(ZP_INVALID_ARGUMENT, "a shape has " + std::to_string(shape.size()) +
                                         " dimensions; at most 8 are possible");
  }
  c.rank = static_cast<int32_t>(shape.size());
  for (size_t i = 0; i < shape.size(); ++i) c.dims[i] = shape[i];
  return c;
}
inline Shape from_c(const zp_shape& shape) { return {shape.dims, shape.dims + shape.rank}; }

struct TensorInfo {
  std::string name;
  zp_dtype dtype = ZP_FLOAT32;
  Shape shape;  // -1: free
  float scale = 0.0f;
  int32_t zero_point = 0;

  bool has_free_dimensions() const {
    for (const int64_t d : shape) {
      if (d < 0) return true;
    }
    return false;
  }
};

// A tensor with memory of its own, zeroed at first.
class Tensor {
 public:
  Tensor() = default;
  Tensor(zp_dtype dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {
    const zp_shape c = to_c(shape_);
    const size_t bytes = zp_tensor_bytes(&c, dtype_);
    if (bytes == 0) throw Error(ZP_INVALID_ARGUMENT, "a tensor has an impossible dtype or shape");
    data_.resize(bytes);
  }

  zp_dtype dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  size_t bytes() const { return data_.size(); }
  size_t elements() const { return data_.size() / zp_dtype_size(dtype_); }
  void* data() { return data_.data(); }
  const void* data() const { return data_.data(); }
  // T must be the type of `dtype`: float, int8_t, uint8_t, int32_t or int64_t.
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_.data());
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.data());
  }

 private:
  zp_dtype dtype_ = ZP_FLOAT32;
  Shape shape_;
  std::vector<unsigned char> data_;  // from operator new: aligned for every dtype
};

// See zp_options.
struct Options {
  std::string isa;
  int threads = 1;
  bool fuse = true;
  std::string io = "as_file";
  std::vector<std::pair<std::string, std::string>> named_io;
  std::string cache;
};

struct Node {
  std::string name, op, precision, kernel, isa, reason;
  Shape output;
  int64_t macs = 0;
  double seconds = 0.0;
};

struct Profile {
  double run_seconds = 0.0;
  std::vector<Node> nodes;
};

struct CacheInfo {
  std::string state, path, problem;
};

class Session {
 public:
  explicit Session(const std::string& path, const Options& options = {}) {
    const COptions c(options);
    zp_session* session = nullptr;
    check(zp_session_open(path.c_str(), &c.value, &session));
    adopt(session);
  }
  // The bytes must stay as they are while the session lives.
  Session(const void* data, size_t bytes, const Options& options = {}) {
    const COptions c(options);
    zp_session* session = nullptr;
    check(zp_session_open_memory(data, bytes, &c.value, &session));
    adopt(session);
  }

  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }
  std::string isa() const { return zp_session_isa(get()); }
  int threads() const { return zp_session_threads(get()); }
  const zp_session* get() const { return session_.get(); }

  CacheInfo cache() const {
    zp_cache_info info{};
    check(zp_session_cache(get(), &info));
    return {info.state, info.path, info.problem};
  }

  // `input_shapes` may be empty where no input has a free dimension.
  std::vector<Shape> output_shapes(const std::vector<Shape>& input_shapes = {}) const {
    const CShapes shapes(input_shapes, inputs_.size());
    std::vector<zp_shape> found(outputs_.size());
    check(
        zp_session_output_shapes(get(), shapes.data(), shapes.count(), found.data(), found.size()));
    std::vector<Shape> result;
    for (const zp_shape& shape : found) result.push_back(from_c(shape));
    return result;
  }

  // Inputs in the model's order; returns its outputs.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs) const {
    std::vector<zp_input> given;
    std::vector<Shape> shapes;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (i < inputs_.size() && inputs[i].dtype() != inputs_[i].dtype) {
        throw Error(ZP_INVALID_ARGUMENT, "input '" + inputs_[i].name + "' is " +
                                             zp_dtype_name(inputs_[i].dtype) + ", not " +
                                             zp_dtype_name(inputs[i].dtype()));
      }
      given.push_back({inputs[i].data(), inputs[i].bytes()});
      shapes.push_back(inputs[i].shape());
    }
    std::vector<Tensor> outputs;
    std::vector<zp_output> places;
    const std::vector<Shape> output_shapes_now = output_shapes(shapes);
    for (size_t i = 0; i < output_shapes_now.size(); ++i) {
      outputs.emplace_back(outputs_[i].dtype, output_shapes_now[i]);
    }
    for (Tensor& output : outputs) places.push_back({output.data(), output.bytes()});
    run(given, shapes, places);
    return outputs;
  }

  // The same on the caller's buffers.
  void run(const std::vector<zp_input>& inputs, const std::vector<Shape>& input_shapes,
           const std::vector<zp_output>& outputs) const {
    const CShapes shapes(input_shapes, inputs.size());
    check(zp_session_run(get(), inputs.data(), shapes.data(), shapes.count(), outputs.data(),
                         outputs.size()));
  }

  zp_memory memory(const std::vector<Shape>& input_shapes = {}) const {
    const CShapes shapes(input_shapes, inputs_.size());
    zp_memory memory{};
    check(zp_session_memory(get(), shapes.data(), shapes.count(), &memory));
    return memory;
  }

  // With repeats 0 nothing runs and `inputs` may be empty.
  Profile profile(const std::vector<zp_input>& inputs, const std::vector<Shape>& input_shapes,
                  int repeats) const {
    if (!inputs.empty() && inputs.size() != inputs_.size()) {
      throw Error(ZP_INVALID_ARGUMENT, "the model takes " + std::to_string(inputs_.size()) +
                                           " inputs, not " + std::to_string(inputs.size()));
    }
    const CShapes shapes(input_shapes, inputs_.size());
    zp_profile* made = nullptr;
    check(zp_session_profile(get(), inputs.empty() ? nullptr : inputs.data(), shapes.data(),
                             shapes.count(), repeats, &made));
    const std::unique_ptr<zp_profile, void (*)(zp_profile*)> owner(made, zp_profile_free);
    Profile profile;
    profile.run_seconds = zp_profile_run_seconds(made);
    for (size_t i = 0; i < zp_profile_node_count(made); ++i) {
      zp_node n{};
      check(zp_profile_node(made, i, &n));
      profile.nodes.push_back({n.name, n.op, n.precision, n.kernel, n.isa, n.reason,
                               from_c(n.output), n.macs, n.seconds});
    }
    return profile;
  }

 private:
  struct Close {
    void operator()(zp_session* session) const { zp_session_close(session); }
  };

  // Options as C sees them; the strings stay with `options`.
  struct COptions {
    explicit COptions(const Options& options) {
      for (const auto& [name, dtype] : options.named_io) {
        named.push_back({name.c_str(), dtype.c_str()});
      }
      value.isa = options.isa.c_str();
      value.threads = options.threads;
      value.no_fusion = options.fuse ? 0 : 1;
      value.io = options.io.c_str();
      value.named_io = named.data();
      value.named_io_count = named.size();
      value.cache = options.cache.c_str();
    }
    std::vector<zp_io> named;
    zp_options value = ZP_OPTIONS_INIT;
  };

  // Shapes as C sees them; no shapes stand for those of a model without free dimensions.
  class CShapes {
   public:
    CShapes(const std::vector<Shape>& shapes, size_t inputs) : left_out_(shapes.empty()) {
      count_ = left_out_ ? inputs : shapes.size();
      for (const Shape& shape : shapes) shapes_.push_back(to_c(shape));
    }
    const zp_shape* data() const { return left_out_ ? nullptr : shapes_.data(); }
    size_t count() const { return count_; }

   private:
    bool left_out_;
    size_t count_;
    std::vector<zp_shape> shapes_;
  };

  void adopt(zp_session* session) {
    session_.reset(session);
    zp_tensor_info info{};
    for (size_t i = 0; i < zp_session_input_count(session); ++i) {
      check(zp_session_input(session, i, &info));
      inputs_.push_back({info.name, info.dtype, from_c(info.shape), info.scale, info.zero_point});
    }
    for (size_t i = 0; i < zp_session_output_count(session); ++i) {
      check(zp_session_output(session, i, &info));
      outputs_.push_back({info.name, info.dtype, from_c(info.shape), info.scale, info.zero_point});
    }
  }

  std::unique_ptr<zp_session, Close> session_;
  std::vector<TensorInfo> inputs_, outputs_;
};

}  // namespace zp

#endif  // ZEROPOINT_HPP_
