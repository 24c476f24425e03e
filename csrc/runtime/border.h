// A session's border: the dtypes in which callers give inputs and get outputs, and the conversions
// between those and the values inside.
//
// An int8 value can be int8 (as in the file), uint8 (q + 128) or, where it has a scale and zero
// point, float32 outside: quantized on the way in and dequantized on the way out by its own
// parameters. All other values are outside what they are inside, but for NaNs: those of an output
// are 0x7FC00000 whatever made them, so that all of its bytes are the same everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/shape.h"
#include "cpu/isa.h"
#include "runtime/model.h"

namespace zeropoint {

// What a caller asks for: "as_file", "float32", "int8" or "uint8", for all inputs and outputs that
// can be it (the others stay as in the file), and by name for those that must be.
struct BorderRequest {
  std::string all = "as_file";
  std::vector<std::pair<std::string, std::string>> named;
};

class Border {
 public:
  // Error(invalid_argument) for an unknown dtype or name, and for a value that cannot be what it is
  // named to be.
  Border(const Model& model, const BorderRequest& request, Isa isa);

  DType input_dtype(size_t i) const { return inputs_[i]; }
  DType output_dtype(size_t i) const { return outputs_[i]; }

  // n elements between a caller's buffer and the arena.
  void load(const ValueInfo& value, DType outside, const void* from, void* to, int64_t n) const;
  void store(const ValueInfo& value, DType outside, const void* from, void* to, int64_t n) const;

 private:
  std::vector<DType> inputs_, outputs_;
  IsaMask isa_;
};

// Between the file's int8 and the stored domain, either way.
void convert_domain(const void* from, void* to, int64_t n);

}  // namespace zeropoint
