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
  bool mapped = false;                // pages of a file, which may leave memory and come back
  std::shared_ptr<const void> owner;  // may be empty: the caller keeps the bytes alive
  // Of a file: device, inode, size and times. The same stamp later means the same bytes, as long
  // as they are altered through the file system.
  std::string stamp;
};

// Maps a regular file. Error(io) names the path and the operating system's reason.
MemoryBlock map_file(const std::string& path);

// Both are advice about a part of a block of mapped pages; with any other memory nothing happens.
// Maps what will be read soon at once, instead of by a page fault every few pages.
void prefetch_pages(const MemoryBlock& block, const void* begin, size_t bytes);
// Takes the pages that lie wholly in the part out of the process's memory. Reading them again
// brings them back.
void drop_pages(const MemoryBlock& block, const void* begin, size_t bytes);

}  // namespace zeropoint
