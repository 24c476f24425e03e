#include "runtime/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checked_math.h"
#include "base/checksum.h"
#include "base/error.h"

namespace zeropoint::gguf {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF files are read in place");

constexpr uint32_t kVersion = 3;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint32_t kMaxTensorRank = 8;
constexpr int kMaxArrayDepth = 4;
// The least a key-value and a tensor's entry take: a table cannot have more than fit the file.
constexpr uint64_t kMinKeyValueBytes = 8 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;

// Bytes of a fixed-size type; 0 for strings, arrays and unknown types.
uint64_t type_size(Type type) {
  switch (type) {
    case Type::u8:
    case Type::i8:
    case Type::boolean:
      return 1;
    case Type::u16:
    case Type::i16:
      return 2;
    case Type::u32:
    case Type::i32:
    case Type::f32:
      return 4;
    case Type::u64:
    case Type::i64:
    case Type::f64:
      return 8;
    case Type::string:
    case Type::array:
      return 0;
  }
  return 0;
}

// Is `text` well-formed UTF-8 (no overlong forms, no surrogates)?
bool is_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int more = lead < 0x80   ? 0
                     : lead < 0xc2 ? -1
                     : lead < 0xe0 ? 1
                     : lead < 0xf0 ? 2
                     : lead < 0xf5 ? 3
                                   : -1;
    if (more < 0 || text.size() - i <= static_cast<size_t>(more)) return false;
    for (int k = 1; k <= more; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + static_cast<size_t>(k)]);
      unsigned lowest = 0x80, highest = 0xbf;
      if (k == 1 && lead == 0xe0) lowest = 0xa0;
      if (k == 1 && lead == 0xed) highest = 0x9f;
      if (k == 1 && lead == 0xf0) lowest = 0x90;
      if (k == 1 && lead == 0xf4) highest = 0x8f;
      if (byte < lowest || byte > highest) return false;
    }
    i += static_cast<size_t>(more) + 1;
  }
  return true;
}

template <typename T>
T load(const unsigned char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Walks the block; every step is checked against what is left.
class Cursor {
 public:
  Cursor(const unsigned char* data, size_t size, const std::string& source)
      : data_(data), size_(size), source_(source) {}

  uint64_t offset() const { return at_; }
  uint64_t left() const { return size_ - at_; }
  const unsigned char* here() const { return data_ + at_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_model, source_ + ": " + what + " (at byte " +
                                              std::to_string(at_) + " of " + std::to_string(size_) +
                                              "); the file is truncated or altered");
  }

  void skip(uint64_t bytes, const std::string& what) {
    if (bytes > left()) {
      fail(what + " needs " + std::to_string(bytes) + " bytes, " + std::to_string(left()) +
           " are left");
    }
    at_ += bytes;
  }

  template <typename T>
  T read(const char* what) {
    const unsigned char* p = here();
    skip(sizeof(T), what);
    return load<T>(p);
  }

  std::string_view read_string(const char* what) {
    const auto length = read<uint64_t>(what);
    const unsigned char* p = here();
    skip(length, what);
    return {reinterpret_cast<const char*>(p), length};
  }

  Type read_type(std::string_view key) {
    const auto number = read<uint32_t>("a value type");
    if (number > static_cast<uint32_t>(Type::f64)) {
      fail("key " + quoted(key) + " has the unknown type " + std::to_string(number));
    }
    return static_cast<Type>(number);
  }

  // Steps over `count` elements of one type.
  void skip_elements(std::string_view key, Type type, uint64_t count, int depth) {
    const uint64_t least = type == Type::string ? 8 : type == Type::array ? 12 : type_size(type);
    if (count > left() / least) {
      fail("key " + quoted(key) + " claims " + std::to_string(count) + " elements, more than the " +
           std::to_string(left()) + " bytes left can hold");
    }
    if (type == Type::string) {
      for (uint64_t i = 0; i < count; ++i) read_string("a string");
    } else if (type == Type::array) {
      if (depth == kMaxArrayDepth) fail("key " + quoted(key) + " nests arrays too deeply");
      for (uint64_t i = 0; i < count; ++i) {
        const Type inner = read_type(key);
        skip_elements(key, inner, read<uint64_t>("an array length"), depth + 1);
      }
    } else {
      skip(count * type_size(type), "a value");
    }
  }

  KeyValue read_value(std::string_view key) {
    KeyValue value;
    value.type = read_type(key);
    value.count = 1;
    if (value.type == Type::array) {
      value.is_array = true;
      value.type = read_type(key);
      value.count = read<uint64_t>("an array length");
    }
    value.data = here();
    skip_elements(key, value.type, value.count, 1);
    return value;
  }

 private:
  const unsigned char* data_;
  uint64_t size_;
  const std::string& source_;
  uint64_t at_ = 0;
};

}  // namespace

const char* type_name(Type type) {
  static constexpr const char* kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                           "int32",  "float32", "bool",   "string", "array",
                                           "uint64", "int64",   "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

std::string printable(std::string_view text) {
  constexpr size_t kMost = 80;
  static constexpr char kHex[] = "0123456789abcdef";
  size_t end = std::min(text.size(), kMost);
  // Not in the middle of a character.
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  std::string s;
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      s += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
    } else {
      s += c;
    }
  }
  return text.size() > kMost ? s + "..." : s;
}

std::string quoted(std::string_view text) { return "'" + printable(text) + "'"; }

File::File(const unsigned char* data, size_t size, const std::string& source)
    : source_(source), data_(data), size_(size) {
  Cursor in(data, size, source_);
  if (size < 4 || std::memcmp(data, "GGUF", 4) != 0) {
    fail("is not a model file: it does not begin with 'GGUF'");
  }
  in.skip(4, "the magic");
  const auto version = in.read<uint32_t>("the container's version");
  if (version == __builtin_bswap32(kVersion)) {
    fail("is a big-endian GGUF file; zeropoint reads little-endian ones");
  }
  if (version != kVersion) {
    fail("has GGUF container version " + std::to_string(version) + "; zeropoint reads version 3");
  }
  const auto tensor_count = in.read<uint64_t>("the tensor count");
  const auto key_count = in.read<uint64_t>("the key-value count");
  if (key_count > in.left() / kMinKeyValueBytes) {
    in.fail("claims " + std::to_string(key_count) + " key-values, more than the file can hold");
  }
  for (uint64_t i = 0; i < key_count; ++i) {
    const std::string_view key = in.read_string("a key");
    if (key.empty()) in.fail("has an empty key");
    const KeyValue value = in.read_value(key);
    if (!keys_.emplace(key, value).second) in.fail("key " + quoted(key) + " appears twice");
  }

  if (tensor_count > in.left() / kMinTensorBytes) {
    in.fail("claims " + std::to_string(tensor_count) + " tensors, more than the file can hold");
  }
  for (uint64_t i = 0; i < tensor_count; ++i) {
    Tensor tensor;
    tensor.name = in.read_string("a tensor's name");
    const auto rank = in.read<uint32_t>("a tensor's rank");
    if (rank > kMaxTensorRank) {
      in.fail("tensor " + quoted(tensor.name) + " has " + std::to_string(rank) + " dimensions");
    }
    for (uint32_t d = 0; d < rank; ++d) {
      const auto dim = in.read<uint64_t>("a tensor's dimension");
      if (dim > static_cast<uint64_t>(kMaxBytes)) {
        in.fail("tensor " + quoted(tensor.name) + " has the dimension " + std::to_string(dim));
      }
      tensor.dims.push_back(static_cast<int64_t>(dim));
    }
    tensor.type = in.read<uint32_t>("a tensor's type");
    tensor.offset = in.read<uint64_t>("a tensor's offset");
    if (!tensors_.emplace(tensor.name, tensor).second) {
      in.fail("tensor " + quoted(tensor.name) + " appears twice");
    }
  }

  uint64_t alignment = 32;
  if (find("general.alignment") != nullptr) {
    const int64_t value = get_int("general.alignment");
    if (value < 8 || value > static_cast<int64_t>(kMaxAlignment) || (value & (value - 1)) != 0) {
      fail("key 'general.alignment' is " + std::to_string(value) +
           "; it must be a power of two from 8 to " + std::to_string(kMaxAlignment));
    }
    alignment = static_cast<uint64_t>(value);
  }
  tensor_base_ = round_up(in.offset(), alignment);
  for (const auto& [name, tensor] : tensors_) {
    if (tensor.offset % alignment != 0) {
      fail("tensor " + quoted(name) + " starts at offset " + std::to_string(tensor.offset) +
           ", which is not a multiple of the alignment " + std::to_string(alignment));
    }
  }
}

void File::fail(const std::string& what) const {
  throw Error(ErrorCode::invalid_model, source_ + ": " + what);
}

const KeyValue* File::find(std::string_view key) const {
  const auto it = keys_.find(key);
  return it == keys_.end() ? nullptr : &it->second;
}

const KeyValue& File::required(std::string_view key) const {
  const KeyValue* value = find(key);
  if (value == nullptr) fail("key " + quoted(key) + " is missing");
  return *value;
}

std::vector<std::string_view> File::strings(std::string_view key, const KeyValue& value) const {
  if (value.type != Type::string && value.count > 0) {
    fail("key " + quoted(key) + " holds " + type_name(value.type) + ", not string");
  }
  std::vector<std::string_view> items;
  items.reserve(value.count);
  const unsigned char* p = value.data;  // the lengths were checked when the file was opened
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto length = load<uint64_t>(p);
    items.emplace_back(reinterpret_cast<const char*>(p + 8), length);
    if (!is_utf8(items.back())) fail("key " + quoted(key) + " holds text that is not UTF-8");
    p += 8 + length;
  }
  return items;
}

std::vector<int64_t> File::ints(std::string_view key, const KeyValue& value) const {
  const uint64_t size = type_size(value.type);
  std::vector<int64_t> items;
  items.reserve(size == 0 ? 0 : value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const unsigned char* p = value.data + i * size;
    switch (value.type) {
      case Type::u8:
        items.push_back(load<uint8_t>(p));
        break;
      case Type::boolean:
        items.push_back(load<uint8_t>(p) != 0);
        break;
      case Type::i8:
        items.push_back(load<int8_t>(p));
        break;
      case Type::u16:
        items.push_back(load<uint16_t>(p));
        break;
      case Type::i16:
        items.push_back(load<int16_t>(p));
        break;
      case Type::u32:
        items.push_back(load<uint32_t>(p));
        break;
      case Type::i32:
        items.push_back(load<int32_t>(p));
        break;
      case Type::i64:
        items.push_back(load<int64_t>(p));
        break;
      case Type::u64: {
        const auto wide = load<uint64_t>(p);
        if (wide > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
          fail("key " + quoted(key) + " holds " + std::to_string(wide) + ", which is too large");
        }
        items.push_back(static_cast<int64_t>(wide));
        break;
      }
      default:
        fail("key " + quoted(key) + " holds " + type_name(value.type) + ", not integers");
    }
  }
  return items;
}

std::vector<double> File::floats(std::string_view key, const KeyValue& value) const {
  std::vector<double> items;
  if (value.type == Type::f32 || value.type == Type::f64) {
    items.reserve(value.count);
    for (uint64_t i = 0; i < value.count; ++i) {
      items.push_back(value.type == Type::f32 ? static_cast<double>(load<float>(value.data + i * 4))
                                              : load<double>(value.data + i * 8));
    }
  } else if (value.count > 0) {
    fail("key " + quoted(key) + " holds " + type_name(value.type) + ", not floating-point numbers");
  }
  return items;
}

std::string_view File::get_string(std::string_view key) const {
  const KeyValue& value = required(key);
  if (value.is_array) fail("key " + quoted(key) + " holds an array, not one string");
  return strings(key, value)[0];
}

int64_t File::get_int(std::string_view key) const {
  const KeyValue& value = required(key);
  if (value.is_array) fail("key " + quoted(key) + " holds an array, not one integer");
  return ints(key, value)[0];
}

std::vector<std::string_view> File::get_strings(std::string_view key) const {
  const KeyValue& value = required(key);
  if (!value.is_array) fail("key " + quoted(key) + " must hold an array of strings");
  return strings(key, value);
}

std::vector<int64_t> File::get_ints(std::string_view key) const {
  const KeyValue& value = required(key);
  if (!value.is_array) fail("key " + quoted(key) + " must hold an array of integers");
  return ints(key, value);
}

std::vector<double> File::get_floats(std::string_view key) const {
  const KeyValue& value = required(key);
  if (!value.is_array) fail("key " + quoted(key) + " must hold an array of floating-point numbers");
  return floats(key, value);
}

std::optional<size_t> File::checksum_offset(std::string_view key) const {
  const KeyValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != Type::u64 || value->is_array) {
    fail("key " + quoted(key) + " is not a uint64");
  }
  return static_cast<size_t>(value->data - data_);
}

bool checksum_fits(const unsigned char* data, size_t size, size_t offset) {
  const auto stored = load<uint64_t>(data + offset);
  const size_t tail = offset + sizeof stored;
  return stored == 3 * weighted_words(data, offset) + weighted_words(data + tail, size - tail);
}

const unsigned char* File::tensor_data(const Tensor& tensor, int64_t element_size) const {
  int64_t bytes = element_size;
  const std::string what = source_ + ": tensor " + quoted(tensor.name);
  for (const int64_t dim : tensor.dims) bytes = checked_mul(bytes, dim, what.c_str());
  if (tensor_base_ > size_ || tensor.offset > size_ - tensor_base_ ||
      static_cast<uint64_t>(bytes) > size_ - tensor_base_ - tensor.offset) {
    throw Error(ErrorCode::invalid_model,
                what + " needs " + std::to_string(bytes) + " bytes from offset " +
                    std::to_string(tensor.offset) +
                    " of the tensor data, past the end of the file; it is truncated or altered");
  }
  return data_ + tensor_base_ + tensor.offset;
}

}  // namespace zeropoint::gguf
