// Where operators keep packed weights: packed now, or as an earlier session left them.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/page_arena.h"
#include "ops/op.h"

namespace zeropoint {

// One node's packed weights in the layout of one kernel; `index` counts the node's. A node goes by
// the value that it writes: two nodes may have one name, and joining nodes changes their order.
struct WeightKey {
  std::string value;
  int index = 0;
  std::string kernel;
  size_t most_bytes = 0;
};

// Where packed weights lie: on a 64-byte boundary, readable kOverreadBytes past the end.
struct WeightBlock {
  const void* data = nullptr;
  size_t bytes = 0;
};

// Packed weights of earlier sessions.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Weights that fit the key in every field, or nullptr; there for as long as the source lives.
  virtual WeightBlock find(const WeightKey& key) const = 0;
};

// Writes what the kernel will read.
using PackFunction = std::function<void(void* packed)>;
// How many bytes that was, where the kernel knows; nullptr: as many as were asked for. Reads less
// than kOverreadBytes.
using UsedFunction = size_t (*)(const void* packed);

// Packed weights of an operator. They belong to the session's store or, without one, to the
// operator.
class PackedWeights {
 public:
  PackedWeights() = default;
  // `most_bytes`: room for `pack`, which is not called where the weights are there already.
  PackedWeights(const OpContext& context, const char* kernel, size_t most_bytes,
                const PackFunction& pack, UsedFunction used = nullptr);

  const void* data() const { return block_.data; }
  size_t size() const { return block_.bytes; }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(block_.data);
  }

 private:
  AlignedBuffer own_;
  WeightBlock block_;
};

// All packed weights of a session. Used by one thread, while operators are made.
class WeightStore {
 public:
  struct Entry {
    WeightKey key;
    WeightBlock block;
  };

  // `source` may be nullptr. `expected`: about how many bytes will be packed.
  WeightStore(std::shared_ptr<const WeightSource> source, size_t expected)
      : source_(std::move(source)), arena_(expected) {}

  // What is asked for next is of the node that writes `value`, as its first output.
  void begin_node(const std::string& value) { value_ = value; }
  WeightBlock get(const char* kernel, size_t most_bytes, const PackFunction& pack,
                  UsedFunction used);

  // Everything handed out, in order, and how many of these had to be packed.
  const std::vector<Entry>& entries() const { return entries_; }
  size_t packed_now() const { return packed_now_; }

 private:
  std::shared_ptr<const WeightSource> source_;
  PageArena arena_;
  std::string value_;
  std::map<std::string, int> next_index_;  // by value
  std::vector<Entry> entries_;
  size_t packed_now_ = 0;
};

}  // namespace zeropoint
