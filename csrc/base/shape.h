// Concrete tensor shapes (row-major; activations are channels-last) and element types.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/checked_math.h"
#include "base/error.h"

namespace zeropoint {

enum class DType : uint8_t {
  f32,
  s8,   // quantized: activations (held as act_t inside a session) and weights
  s32,  // accumulators, biases
  s64,  // indices (argmax)
  u8,   // int8 values as callers may see them, q + 128: at a session's border only
};

inline int64_t dtype_size(DType t) {
  switch (t) {
    case DType::f32:
    case DType::s32:
      return 4;
    case DType::s8:
    case DType::u8:
      return 1;
    case DType::s64:
      return 8;
  }
  return 0;
}

inline const char* dtype_name(DType t) {
  switch (t) {
    case DType::f32:
      return "float32";
    case DType::s8:
      return "int8";
    case DType::s32:
      return "int32";
    case DType::s64:
      return "int64";
    case DType::u8:
      return "uint8";
  }
  return "?";
}

// A small fixed-capacity list of dimensions. -1 stands for a free dimension where a
// model's own (not yet concrete) shapes are meant.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) push_back(d);
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  int64_t& operator[](int i) { return dims_[static_cast<size_t>(i)]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }
  int64_t back() const { return dims_[static_cast<size_t>(rank_ - 1)]; }

  void push_back(int64_t d) {
    if (rank_ == kMaxRank) {
      throw Error(ErrorCode::unsupported, "a tensor has more than 8 dimensions");
    }
    dims_[static_cast<size_t>(rank_++)] = d;
  }

  // Number of elements; throws when it is absurd.
  int64_t elements() const { return elements(0, rank_); }
  int64_t elements(int from, int to) const;

  bool operator==(const Shape& o) const {
    if (rank_ != o.rank_) return false;
    for (int i = 0; i < rank_; ++i) {
      if ((*this)[i] != o[i]) return false;
    }
    return true;
  }
  bool operator!=(const Shape& o) const { return !(*this == o); }
  bool operator<(const Shape& o) const {
    if (rank_ != o.rank_) return rank_ < o.rank_;
    for (int i = 0; i < rank_; ++i) {
      if ((*this)[i] != o[i]) return (*this)[i] < o[i];
    }
    return false;
  }

  std::string to_string() const;  // "[1, ?, 3]"

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace zeropoint
