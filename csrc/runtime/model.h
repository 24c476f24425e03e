// A model as its file tells it: values, nodes in execution order, graph inputs and outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/op.h"
#include "runtime/mapped_file.h"

namespace zeropoint {

// Pointers between the parts stay valid when a Model is moved; it cannot be copied.
struct Model {
  std::string source;    // the path, or "model" for a memory block: begins every message
  std::string name;      // as its author called it
  std::string producer;  // the program that wrote it
  std::vector<ValueInfo> values;
  std::vector<NodeInfo> nodes;
  std::vector<const ValueInfo*> inputs;
  std::vector<const ValueInfo*> outputs;
  // int8 inputs and outputs that callers see as uint8, unless they ask for something else.
  std::vector<const ValueInfo*> unsigned_values;

  MemoryBlock file;                  // the whole model file; empty in copies of a model
  std::optional<uint64_t> checksum;  // as the file has it
  size_t checksum_offset = 0;        // where it is in the file
  bool content_checked = true;       // false: that it fits the content is not known yet
  int64_t file_bytes = 0;
  int64_t constant_bytes = 0;

  // What constants point into: the mapped file, and copies of those that needed one.
  std::vector<std::shared_ptr<const void>> owners;

  size_t index_of(const ValueInfo& value) const {
    return static_cast<size_t>(&value - values.data());
  }
};

}  // namespace zeropoint
