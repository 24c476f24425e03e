// Where buffers with known lifetimes lie in one block of memory.
#pragma once

#include <cstdint>
#include <vector>

namespace zeropoint {

// A buffer that is alive from step `first` to step `last`, both included.
struct BufferRequest {
  int64_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // one a request, multiples of kBufferAlignment
  int64_t arena_bytes = 0;
};

inline constexpr int64_t kBufferAlignment = 64;

// Buffers whose lifetimes touch never share a byte, the kOverreadBytes behind each included. The
// largest buffers are placed first, each into the smallest gap that holds it; the result depends
// on the requests alone. Error(out_of_memory) when the arena would exceed kMaxBytes.
MemoryPlan plan_memory(const std::vector<BufferRequest>& requests);

}  // namespace zeropoint
