// Owned memory on 64-byte boundaries, readable past its end.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"

namespace zeropoint {

// Kernels may load (never use) up to this many bytes past the end of any activation or
// packed buffer; every buffer handed to a kernel is allocated with this slack.
inline constexpr size_t kOverreadBytes = 64;

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : size_(bytes) {
    const size_t padded = (bytes + kOverreadBytes + 63) / 64 * 64;
    const size_t alignment = padded >= kHugePage / 2 ? kHugePage : 64;
    data_.reset(padded < bytes ? nullptr : std::aligned_alloc(alignment, padded));
    if (!data_) {
      throw Error(ErrorCode::out_of_memory, "cannot allocate " + std::to_string(bytes) +
                                                " bytes; use a smaller input or model");
    }
    use_huge_pages(padded);
  }

  void* data() { return data_.get(); }
  const void* data() const { return data_.get(); }
  template <typename T>
  T* as() {
    return static_cast<T*>(data_.get());
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data_.get());
  }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;

  // Weights are swept once a run: with small pages, address translation and what scattered pages do
  // to the second-level cache cost a tenth of the layers with many weights. Only a hint; the last
  // page is made huge where at least half of it is used.
  void use_huge_pages(size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const size_t whole = (bytes + kHugePage / 2) / kHugePage * kHugePage;
    if (whole != 0) madvise(data_.get(), whole, MADV_HUGEPAGE);
#else
    static_cast<void>(bytes);
#endif
  }

  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

}  // namespace zeropoint
