// Owned memory on 64-byte boundaries, readable past its end.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace zeropoint {

// Kernels may load (never use) up to this many bytes past the end of any activation or
// packed buffer; every buffer handed to a kernel is allocated with this slack.
inline constexpr size_t kOverreadBytes = 64;

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Not initialized. Large buffers lie on huge pages where the system has them; see
  // base/huge_pages.h. Error(out_of_memory).
  explicit AlignedBuffer(size_t bytes);

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
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

}  // namespace zeropoint
