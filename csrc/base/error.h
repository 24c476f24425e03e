// The one exception type of the engine. Every message says what is wrong, where, and what to do.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace zeropoint {

enum class ErrorCode {
  invalid_model,     // the file or memory block is not a valid model
  unsupported,       // valid, but this build or version cannot run it
  invalid_argument,  // the caller passed something wrong (name, dtype, shape, option)
  isa,               // an ISA level that does not exist or that this CPU lacks
  io,                // the operating system refused to open, read or map
  out_of_memory,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Adds where it happened to an error that is passing by: "node 'conv1' (conv2d): <message>".
[[noreturn]] inline void rethrow_with_context(const Error& error, const std::string& where) {
  throw Error(error.code(), where + ": " + error.what());
}

}  // namespace zeropoint
