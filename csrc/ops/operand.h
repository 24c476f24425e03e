// An input that is read as an activation, be it one or a constant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/shape.h"
#include "ops/op.h"
#include "quant/activation.h"

namespace zeropoint {

// int8 constants in the file are in the file's domain, and a mapped file may end right after them:
// so a constant is copied once, in the stored domain and with the slack that kernels may read.
class Operand {
 public:
  explicit Operand(const ValueInfo& value) : constant_(value.is_constant()) {
    if (!constant_) return;
    const auto bytes = static_cast<size_t>(
        checked_mul(value.shape.elements(), dtype_size(value.dtype), "a constant"));
    buffer_ = AlignedBuffer(bytes);
    if (value.dtype == DType::s8) {
      const int8_t* from = value.constant->as<int8_t>();
      act_t* to = buffer_.as<act_t>();
      for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<act_t>(from[i] + kActOffset);
    } else if (bytes > 0) {
      std::memcpy(buffer_.data(), value.constant->data, bytes);
    }
  }

  bool is_constant() const { return constant_; }
  size_t bytes() const { return buffer_.size(); }

  // Where to read from, given the pointer that the run was handed.
  const void* resolve(const void* input) const { return constant_ ? buffer_.data() : input; }
  template <typename T>
  const T* as(const void* input) const {
    return static_cast<const T*>(resolve(input));
  }

 private:
  bool constant_ = false;
  AlignedBuffer buffer_;
};

}  // namespace zeropoint
