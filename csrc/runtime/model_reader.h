// Reads a model file (GGUF; python/zeropoint/model_file.py specifies the keys).
//
// Files come from strangers. Every count, length, offset, alignment and type is checked before it
// is used, memory stays in proportion to the file, and whatever is wrong is an Error(invalid_model)
// that names the file and the key, value or node.
#pragma once

#include <cstddef>
#include <string>

#include "runtime/mapped_file.h"
#include "runtime/model.h"

namespace zeropoint {

inline constexpr int kFormatVersion = 1;

// When the checksum of the whole content is computed: a file that does not fit it is an error.
enum class Checksum {
  now,
  later,  // by check_content(), which a Session calls unless a cache file vouches for the content
};

// Maps the file; Error(io) when it cannot be opened.
Model read_model_file(const std::string& path, Checksum checksum = Checksum::now);

// Reads a model from memory. The bytes must stay as they are while the Model lives; they are not
// copied, except constants that are not aligned to their elements or that lack kOverreadBytes
// behind them.
Model read_model(const MemoryBlock& block, const std::string& source,
                 Checksum checksum = Checksum::now);

// The check that was left for later; nothing where it was made.
void check_content(Model& model);

}  // namespace zeropoint
