// A file's bytes in memory, read-only.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace zeropoint {

// Bytes with a shared owner; kOverreadBytes past the end are readable where `slack` is true.
struct MemoryBlock {
  const unsigned char* data = nullptr;
  size_t size = 0;
  bool slack = false;
  std::shared_ptr<const void> owner;  // may be empty: the caller keeps the bytes alive
};

// Maps a regular file. Error(io) names the path and the operating system's reason.
MemoryBlock map_file(const std::string& path);

}  // namespace zeropoint
