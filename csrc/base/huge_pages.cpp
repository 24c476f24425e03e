#include "base/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>

#include "base/checked_math.h"

namespace zeropoint {

void advise_huge_pages(void* begin, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const uintptr_t first = round_up(reinterpret_cast<uintptr_t>(begin), uintptr_t{kHugePage});
  const uintptr_t end = (reinterpret_cast<uintptr_t>(begin) + bytes) / kHugePage * kHugePage;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#else
  (void)begin, (void)bytes;
#endif
}

}  // namespace zeropoint
