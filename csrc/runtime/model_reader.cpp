#include "runtime/model_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "runtime/gguf.h"

namespace zeropoint {
namespace {

using gguf::quoted;

// More than any network has; it bounds the time that planning a hostile model can take.
constexpr int64_t kMaxNodes = 1 << 16;

class Reader {
 public:
  Reader(const MemoryBlock& block, const std::string& source, Checksum checksum)
      : block_(block), file_(block.data, block.size, source), checksum_(checksum) {}

  Model read() {
    try {
      return read_all();
    } catch (const Error& error) {
      if (model_.checksum) check_content(model_);  // the more helpful message, where it is true
      const std::string begin = file_.source() + ": ";
      if (std::strncmp(error.what(), begin.c_str(), begin.size()) == 0) throw;
      rethrow_with_context(error, file_.source());  // from the helpers that know no file
    }
  }

 private:
  Model read_all() {
    model_.source = file_.source();
    model_.file = block_;
    check_header();
    model_.name = std::string(file_.get_string("general.name"));
    model_.producer = std::string(file_.get_string("zeropoint.producer"));
    model_.file_bytes = static_cast<int64_t>(block_.size);
    if (block_.owner) model_.owners.push_back(block_.owner);
    read_values();
    read_inputs();
    read_nodes();
    read_outputs();
    read_unsigned();
    return std::move(model_);
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_model, file_.source() + ": " + what);
  }

  void check_header() {
    const std::string_view architecture = file_.get_string("general.architecture");
    if (architecture != "zeropoint") {
      fail("is a GGUF file for " + quoted(architecture) + ", not a zeropoint model");
    }
    const int64_t version = file_.get_int("zeropoint.format_version");
    if (version > kFormatVersion) {
      fail("has format version " + std::to_string(version) + ", and this build reads up to " +
           std::to_string(kFormatVersion) + "; upgrade zeropoint");
    }
    if (version < 1) fail("has the impossible format version " + std::to_string(version));
    if (const auto at = file_.checksum_offset("zeropoint.checksum")) {
      model_.checksum_offset = *at;
      uint64_t checksum = 0;
      std::memcpy(&checksum, block_.data + *at, sizeof checksum);
      model_.checksum = checksum;
      model_.content_checked = false;
    }
    if (checksum_ == Checksum::now) check_content(model_);
  }

  // -- values ---------------------------------------------------------------------------------

  void read_values() {
    const auto names = file_.get_strings("zeropoint.value.name");
    const auto dtypes = file_.get_strings("zeropoint.value.dtype");
    const auto ranks = file_.get_ints("zeropoint.value.rank");
    const auto scales = file_.get_floats("zeropoint.value.scale");
    const auto zero_points = file_.get_ints("zeropoint.value.zero_point");
    const auto axes = file_.get_ints("zeropoint.value.axis");
    std::vector<int64_t> dims;
    if (file_.find("zeropoint.value.dims") != nullptr)
      dims = file_.get_ints("zeropoint.value.dims");
    const size_t count = names.size();
    const auto same_length = [&](const char* key, size_t length) {
      if (length != count) {
        fail("key 'zeropoint.value." + std::string(key) + "' has " + std::to_string(length) +
             " entries for " + std::to_string(count) + " values");
      }
    };
    same_length("dtype", dtypes.size());
    same_length("rank", ranks.size());
    same_length("scale", scales.size());
    same_length("zero_point", zero_points.size());
    same_length("axis", axes.size());

    model_.values.reserve(count);
    size_t next_dim = 0;
    for (size_t i = 0; i < count; ++i) {
      ValueInfo value;
      if (names[i].empty()) fail("value " + std::to_string(i) + " has no name");
      value.name = std::string(names[i]);
      if (!by_name_.emplace(names[i], i).second)
        fail("value " + quoted(names[i]) + " appears twice");
      value.dtype = parse_dtype(dtypes[i], names[i]);
      if (ranks[i] < 0 || ranks[i] > Shape::kMaxRank) {
        fail("value " + quoted(names[i]) + " has rank " + std::to_string(ranks[i]) +
             "; at most 8 dimensions are supported");
      }
      if (static_cast<uint64_t>(ranks[i]) > dims.size() - next_dim) {
        fail("key 'zeropoint.value.dims' ends before the dimensions of value " + quoted(names[i]));
      }
      for (int64_t d = 0; d < ranks[i]; ++d) {
        const int64_t dim = dims[next_dim++];
        if (dim != -1 && (dim < 1 || dim > kMaxBytes)) {
          fail("value " + quoted(names[i]) + " has the dimension " + std::to_string(dim));
        }
        value.shape.push_back(dim);
      }
      const auto tensor = file_.tensors().find(names[i]);
      const bool constant = tensor != file_.tensors().end();
      set_quantization(value, scales[i], zero_points[i], axes[i], constant);
      if (constant) set_constant(value, tensor->second, axes[i]);
      model_.values.push_back(std::move(value));
    }
    if (next_dim != dims.size()) fail("key 'zeropoint.value.dims' has more entries than the ranks");
  }

  DType parse_dtype(std::string_view text, std::string_view name) const {
    for (const DType dtype : {DType::f32, DType::s8, DType::s32, DType::s64}) {
      if (text == dtype_name(dtype)) return dtype;
    }
    fail("value " + quoted(name) + " has the unknown dtype " + quoted(text));
  }

  float checked_scale(double scale, std::string_view name) const {
    const auto narrow = static_cast<float>(scale);
    if (!std::isnormal(narrow) || narrow < 0.0f) {
      fail("the scale of " + quoted(name) + " is " + std::to_string(scale) +
           "; it must be finite, positive and not denormal");
    }
    return narrow;
  }

  int32_t checked_zero_point(int64_t zero_point, std::string_view name) const {
    if (zero_point < -128 || zero_point > 127) {
      fail("the zero point of " + quoted(name) + " is " + std::to_string(zero_point) +
           "; it must be from -128 to 127");
    }
    return static_cast<int32_t>(zero_point);
  }

  void set_quantization(ValueInfo& value, double scale, int64_t zero_point, int64_t axis,
                        bool constant) const {
    if (axis != -1 && (!constant || axis < 0 || axis >= value.shape.rank())) {
      fail("value " + quoted(value.name) + " has the channel axis " + std::to_string(axis) +
           (constant ? ", which it lacks" : "; only constants are quantized per channel"));
    }
    // An int8 activation without a scale has run-time parameters: operators that want to know them
    // when they are made refuse it.
    if (scale == 0.0) return;
    if (value.dtype != DType::s8) {
      fail("value " + quoted(value.name) + " is " + dtype_name(value.dtype) +
           " and has a scale; only int8 values have one");
    }
    if (axis != -1) fail("value " + quoted(value.name) + " has both a scale and a channel axis");
    value.quantized = true;
    value.quant.scale = checked_scale(scale, value.name);
    value.quant.zero_point = checked_zero_point(zero_point, value.name) + kActOffset;
  }

  void set_constant(ValueInfo& value, const gguf::Tensor& tensor, int64_t axis) {
    for (const int64_t dim : value.shape) {
      if (dim < 1) fail("constant " + quoted(value.name) + " has a free dimension");
    }
    value.constant = std::make_unique<Constant>();
    value.constant->data = constant_data(tensor, value.dtype, value.shape.elements());
    if (value.quantized) {
      value.constant->scales = {value.quant.scale};
      value.constant->zero_points = {value.quant.zero_point - kActOffset};
    } else if (axis != -1) {
      if (value.dtype != DType::s8) {
        fail("constant " + quoted(value.name) + " is " + dtype_name(value.dtype) +
             " and has a channel axis; only int8 constants have one");
      }
      set_channels(value, static_cast<int>(axis));
    }
  }

  void set_channels(ValueInfo& value, int axis) {
    const auto channels = static_cast<size_t>(value.shape[axis]);
    const std::string scale_name = value.name + ".scale";
    const std::string zero_name = value.name + ".zero_point";
    const auto* scales = static_cast<const float*>(
        constant_data(required_tensor(scale_name), DType::f32, value.shape[axis]));
    const auto* zeros = static_cast<const int32_t*>(
        constant_data(required_tensor(zero_name), DType::s32, value.shape[axis]));
    Constant& constant = *value.constant;
    constant.axis = axis;
    constant.scales.reserve(channels);
    constant.zero_points.reserve(channels);
    for (size_t c = 0; c < channels; ++c) {
      constant.scales.push_back(checked_scale(scales[c], scale_name));
      constant.zero_points.push_back(checked_zero_point(zeros[c], zero_name));
    }
  }

  const gguf::Tensor& required_tensor(const std::string& name) const {
    const auto it = file_.tensors().find(name);
    if (it == file_.tensors().end()) fail("tensor " + quoted(name) + " is missing");
    return it->second;
  }

  // A tensor's data, aligned to its elements and readable kOverreadBytes past its end.
  const void* constant_data(const gguf::Tensor& tensor, DType dtype, int64_t elements) {
    const auto type = static_cast<gguf::TensorType>(tensor.type);
    const bool matches = (dtype == DType::f32 && type == gguf::TensorType::f32) ||
                         (dtype == DType::s8 && type == gguf::TensorType::i8) ||
                         (dtype == DType::s32 && type == gguf::TensorType::i32) ||
                         (dtype == DType::s64 && type == gguf::TensorType::i64);
    if (!matches) {
      fail("tensor " + quoted(tensor.name) + " has the GGUF type " + std::to_string(tensor.type) +
           ", which is not that of " + dtype_name(dtype));
    }
    int64_t held = 1;
    for (const int64_t dim : tensor.dims) held = checked_mul(held, dim, "a tensor's element count");
    if (held != elements) {
      fail("tensor " + quoted(tensor.name) + " has " + std::to_string(held) + " elements, not " +
           std::to_string(elements));
    }
    const unsigned char* data = file_.tensor_data(tensor, dtype_size(dtype));
    const auto bytes = static_cast<size_t>(elements * dtype_size(dtype));
    model_.constant_bytes += static_cast<int64_t>(bytes);
    // Constants may be copied, and are packed: no more of them than the file has bytes.
    if (model_.constant_bytes > model_.file_bytes) {
      fail("the tensors overlap: together they are larger than the file; it is altered");
    }

    const auto behind = static_cast<size_t>(block_.data + block_.size - (data + bytes));
    const bool aligned =
        reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(dtype_size(dtype)) == 0;
    if (aligned && (block_.slack || behind >= kOverreadBytes)) return data;
    const auto copy = std::make_shared<AlignedBuffer>(bytes);
    std::memcpy(copy->data(), data, bytes);
    model_.owners.push_back(copy);
    return copy->data();
  }

  // -- the graph ------------------------------------------------------------------------------

  size_t value_index(std::string_view name, const std::string& where) const {
    const auto it = by_name_.find(name);
    if (it == by_name_.end())
      fail(where + " names the value " + quoted(name) + ", which is unknown");
    return it->second;
  }

  void read_inputs() {
    written_.assign(model_.values.size(), false);
    for (size_t i = 0; i < model_.values.size(); ++i) written_[i] = model_.values[i].is_constant();
    for (const std::string_view name : optional_strings("zeropoint.inputs")) {
      const size_t i = value_index(name, "key 'zeropoint.inputs'");
      if (written_[i]) {
        fail("graph input " + quoted(name) +
             (model_.values[i].is_constant() ? " is a constant" : " is listed twice"));
      }
      written_[i] = true;
      model_.inputs.push_back(&model_.values[i]);
    }
  }

  void read_outputs() {
    std::vector<bool> listed(model_.values.size(), false);
    for (const std::string_view name : file_.get_strings("zeropoint.outputs")) {
      const size_t i = value_index(name, "key 'zeropoint.outputs'");
      if (!written_[i]) fail("graph output " + quoted(name) + " is written by no node");
      if (listed[i]) fail("graph output " + quoted(name) + " is listed twice");
      listed[i] = true;
      model_.outputs.push_back(&model_.values[i]);
    }
    if (model_.outputs.empty()) fail("has no graph outputs");
  }

  void read_unsigned() {
    const auto has = [](const std::vector<const ValueInfo*>& values, const ValueInfo* value) {
      return std::find(values.begin(), values.end(), value) != values.end();
    };
    for (const std::string_view name : optional_strings("zeropoint.unsigned")) {
      const ValueInfo* value = &model_.values[value_index(name, "key 'zeropoint.unsigned'")];
      if (value->dtype != DType::s8 || !(has(model_.inputs, value) || has(model_.outputs, value))) {
        fail("key 'zeropoint.unsigned' names " + quoted(name) +
             ", which is not an int8 graph input or output");
      }
      model_.unsigned_values.push_back(value);
    }
  }

  std::vector<std::string_view> optional_strings(const std::string& key) const {
    return file_.find(key) == nullptr ? std::vector<std::string_view>{} : file_.get_strings(key);
  }

  void read_nodes() {
    const int64_t count = file_.get_int("zeropoint.node.count");
    if (count < 0 || count > kMaxNodes) {
      fail("key 'zeropoint.node.count' is " + std::to_string(count) + "; at most " +
           std::to_string(kMaxNodes) + " nodes are supported");
    }
    if (static_cast<uint64_t>(count) > file_.keys().size()) {
      fail("key 'zeropoint.node.count' is " + std::to_string(count) +
           ", more than the file has keys");
    }
    model_.nodes.resize(static_cast<size_t>(count));
    for (size_t i = 0; i < model_.nodes.size(); ++i) read_node(i);
  }

  void read_node(size_t index) {
    NodeInfo& node = model_.nodes[index];
    const std::string prefix = "zeropoint.node." + std::to_string(index) + ".";
    node.name = std::string(file_.get_string(prefix + "name"));
    node.op = std::string(file_.get_string(prefix + "op"));
    if (file_.find(prefix + "reason") != nullptr) {
      node.reason = std::string(file_.get_string(prefix + "reason"));
    }
    const std::string where = "node " + quoted(node.name) + " (" + gguf::printable(node.op) + ")";
    for (const std::string_view name : optional_strings(prefix + "inputs")) {
      if (name.empty()) {
        node.inputs.push_back(nullptr);
        continue;
      }
      const size_t i = value_index(name, where);
      if (!written_[i]) {
        fail(where + " reads " + quoted(name) +
             ", which no earlier node, graph input or constant provides");
      }
      node.inputs.push_back(&model_.values[i]);
    }
    for (const std::string_view name : file_.get_strings(prefix + "outputs")) {
      const size_t i = value_index(name, where);
      if (written_[i]) fail(where + " writes " + quoted(name) + ", which is written already");
      written_[i] = true;
      node.outputs.push_back(&model_.values[i]);
    }
    if (node.outputs.empty()) fail(where + " has no outputs");
    read_attributes(node, prefix + "attr.");
  }

  void read_attributes(NodeInfo& node, const std::string& prefix) {
    for (auto it = file_.keys().lower_bound(prefix); it != file_.keys().end(); ++it) {
      const std::string_view key = it->first;
      if (key.substr(0, prefix.size()) != prefix) break;
      const gguf::KeyValue& value = it->second;
      const std::string name(key.substr(prefix.size()));
      if (value.type == gguf::Type::string) {
        const auto items = file_.strings(key, value);
        if (value.is_array) fail("key " + quoted(key) + " holds strings; an attribute cannot");
        node.attributes.set(name, std::string(items[0]));
      } else if (value.type == gguf::Type::f32 || value.type == gguf::Type::f64) {
        std::vector<double> items = file_.floats(key, value);
        if (value.is_array) {
          node.attributes.set(name, std::move(items));
        } else {
          node.attributes.set(name, items[0]);
        }
      } else {
        std::vector<int64_t> items = file_.ints(key, value);
        if (value.is_array) {
          node.attributes.set(name, std::move(items));
        } else {
          node.attributes.set(name, items[0]);
        }
      }
    }
  }

  const MemoryBlock& block_;
  gguf::File file_;
  Checksum checksum_;
  Model model_;
  std::map<std::string_view, size_t> by_name_;
  std::vector<bool> written_;
};

}  // namespace

Model read_model(const MemoryBlock& block, const std::string& source, Checksum checksum) {
  return Reader(block, source, checksum).read();
}

Model read_model_file(const std::string& path, Checksum checksum) {
  return read_model(map_file(path), path, checksum);
}

void check_content(Model& model) {
  if (model.content_checked) return;
  prefetch_pages(model.file, model.file.data, model.file.size);
  if (!gguf::checksum_fits(model.file.data, model.file.size, model.checksum_offset)) {
    throw Error(ErrorCode::invalid_model,
                model.source +
                    ": the checksum does not fit the content; the file was altered or damaged: "
                    "fetch or write it again");
  }
  model.content_checked = true;
}

}  // namespace zeropoint
