// [..., M, K] x [..., K, N] with NumPy's rules for the leading axes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/shape.h"

namespace zeropoint {

// The output's shape; Error where a and b do not fit.
Shape matmul_shape(const Shape& a, const Shape& b);

// Which matrix of A and of B each matrix of the output is the product of.
class MatMulBatches {
 public:
  MatMulBatches(const Shape& a, const Shape& b, const Shape& y);

  struct Pair {
    int64_t a, b;  // counted in matrices
  };
  int64_t count() const { return count_; }
  Pair at(int64_t batch) const;

 private:
  struct Axis {
    int64_t y, a, b;
  };
  std::vector<Axis> axes_;  // leading axes, innermost first
  int64_t count_;
};

}  // namespace zeropoint
