#include "base/page_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "base/huge_pages.h"

namespace zeropoint {
namespace {

// Below this, whole huge pages would be a large part of the memory in use.
constexpr size_t kLeastForHugePages = 2 * kHugePage;
// Address space is cheap: what is mapped and never touched takes no memory.
constexpr size_t kLeastMapping = size_t{64} << 10, kMostMapping = size_t{64} << 20;

}  // namespace

PageArena::~PageArena() {
  for (const Mapping& mapping : mappings_) ::munmap(mapping.base, mapping.bytes);
}

void PageArena::map(size_t at_least) {
  const size_t wanted = std::clamp(expected_ + expected_ / 8, kLeastMapping, kMostMapping);
  const size_t bytes = std::max(round_up(at_least, kLeastMapping), round_up(wanted, kLeastMapping));
  const bool huge = bytes >= kLeastForHugePages;
  const size_t reserved = huge ? round_up(bytes, kHugePage) + kHugePage : bytes;
  void* base =
      ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    throw Error(ErrorCode::out_of_memory,
                "cannot allocate " + std::to_string(reserved) + " bytes; use a smaller model");
  }
  mappings_.push_back({base, reserved});
  next_ = static_cast<unsigned char*>(base);
  left_ = reserved;
  if (!huge) return;
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(base) % kHugePage) % kHugePage;
  next_ += skip;
  left_ -= skip;
  advise_huge_pages(next_, left_);
}

void* PageArena::allocate(size_t bytes) {
  if (bytes > static_cast<size_t>(kMaxBytes)) {
    throw Error(ErrorCode::out_of_memory,
                "cannot allocate " + std::to_string(bytes) + " bytes; use a smaller model");
  }
  const size_t padded = round_up<size_t>(bytes + kOverreadBytes, 64);
  if (padded > left_) map(padded);
  void* result = next_;
  next_ += padded;
  left_ -= padded;
  return result;
}

void PageArena::shrink_last(void* buffer, size_t bytes) {
  auto* const end =
      static_cast<unsigned char*>(buffer) + round_up<size_t>(bytes + kOverreadBytes, 64);
  left_ += static_cast<size_t>(next_ - end);
  next_ = end;
}

}  // namespace zeropoint
