#include "base/aligned_buffer.h"

#include <string>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/huge_pages.h"

namespace zeropoint {

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  size_t padded = (bytes + kOverreadBytes + 63) / 64 * 64;
  // A page that is used by half may as well be a huge one.
  const bool huge = padded >= kHugePage / 2;
  if (padded % kHugePage >= kHugePage / 2) padded = round_up(padded, kHugePage);
  void* data = nullptr;
  const bool made = padded >= bytes && ::posix_memalign(&data, huge ? kHugePage : 64, padded) == 0;
  if (!made) {
    throw Error(ErrorCode::out_of_memory, "cannot allocate " + std::to_string(bytes) +
                                              " bytes; use a smaller input or model");
  }
  data_.reset(data);
  if (huge) advise_huge_pages(data, padded);
}

}  // namespace zeropoint
