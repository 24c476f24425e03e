// The GGUF v3 container: typed key-values and named tensors in one block of memory.
//
// Nothing here knows what a model is. Everything a file says is checked against the bytes that are
// there before it is used; what is kept are views into the block.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zeropoint::gguf {

enum class Type : uint32_t {
  u8 = 0,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
const char* type_name(Type type);

// Tensor element types, with ggml's numbers. Others may occur in a file; they cannot be read.
enum class TensorType : uint32_t { f32 = 0, i8 = 24, i32 = 26, i64 = 27 };

// A key's value. Scalars are arrays of one: `type` is then the element's type.
struct KeyValue {
  Type type = Type::u8;
  bool is_array = false;
  uint64_t count = 0;
  const unsigned char* data = nullptr;
};

struct Tensor {
  std::string_view name;
  uint32_t type = 0;          // a TensorType, or another number
  std::vector<int64_t> dims;  // fastest first
  uint64_t offset = 0;        // from the start of the tensor data
};

// A name or string from a file, made fit for a message: shortened, without control bytes.
std::string printable(std::string_view text);
std::string quoted(std::string_view text);  // the same between single quotes

class File {
 public:
  // Checks the whole container; `source` begins every message. The block must outlive the File.
  File(const unsigned char* data, size_t size, const std::string& source);

  const std::string& source() const { return source_; }
  const std::map<std::string_view, KeyValue>& keys() const { return keys_; }
  const std::map<std::string_view, Tensor>& tensors() const { return tensors_; }
  const KeyValue* find(std::string_view key) const;

  // Typed reading. Integers of any width (and bool) convert where they fit, as do the two float
  // types. A missing key or another type is Error(invalid_model).
  std::string_view get_string(std::string_view key) const;
  int64_t get_int(std::string_view key) const;
  std::vector<std::string_view> get_strings(std::string_view key) const;
  std::vector<int64_t> get_ints(std::string_view key) const;
  std::vector<double> get_floats(std::string_view key) const;

  // The same on a value at hand; `key` is for messages.
  std::vector<std::string_view> strings(std::string_view key, const KeyValue& value) const;
  std::vector<int64_t> ints(std::string_view key, const KeyValue& value) const;
  std::vector<double> floats(std::string_view key, const KeyValue& value) const;

  // Where the uint64 under `key` is in the block, if there is one; see checksum_fits().
  std::optional<size_t> checksum_offset(std::string_view key) const;

  // The bytes of a tensor whose type takes `element_size` bytes an element, checked to be inside
  // the file.
  const unsigned char* tensor_data(const Tensor& tensor, int64_t element_size) const;

 private:
  const KeyValue& required(std::string_view key) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::string source_;
  const unsigned char* data_;
  size_t size_;
  uint64_t tensor_base_ = 0;
  // Ordered maps: a hostile file can make every name collide in a hash table.
  std::map<std::string_view, KeyValue> keys_;
  std::map<std::string_view, Tensor> tensors_;
};

// Does the uint64 at `offset` equal the checksum of all other bytes (3 h(head) + h(tail), see
// python/zeropoint/model_file.py)?
bool checksum_fits(const unsigned char* data, size_t size, size_t offset);

}  // namespace zeropoint::gguf
