// Whole files of raw bytes.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace zeropoint_run {

// A file that cannot be read or written: exit code 1.
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::vector<unsigned char> read_file(const std::string& path);
void write_file(const std::string& path, const void* data, size_t bytes);

}  // namespace zeropoint_run
