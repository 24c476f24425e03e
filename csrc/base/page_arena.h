// Memory for many long-lived buffers, given back all at once.
#pragma once

#include <cstddef>
#include <vector>

namespace zeropoint {

// Buffers lie side by side in a few mappings, on huge pages where there is enough to fill some: a
// page of 2 MiB costs one fault where small pages cost 512.
class PageArena {
 public:
  // `expected`: about how many bytes will be asked for; more is fine.
  explicit PageArena(size_t expected) : expected_(expected) {}
  ~PageArena();
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;

  // Zeroed, on a 64-byte boundary, readable kOverreadBytes past the end. Error(out_of_memory).
  void* allocate(size_t bytes);
  // Of the buffer that was allocated last, keeps the first `bytes` alone. What lies behind these
  // has not been written.
  void shrink_last(void* buffer, size_t bytes);

 private:
  struct Mapping {
    void* base;
    size_t bytes;
  };

  void map(size_t at_least);

  size_t expected_;
  std::vector<Mapping> mappings_;
  unsigned char* next_ = nullptr;
  size_t left_ = 0;
};

}  // namespace zeropoint
