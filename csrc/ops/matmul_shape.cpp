#include "ops/matmul_shape.h"

#include <algorithm>

#include "base/error.h"

namespace zeropoint {
namespace {

int64_t leading(const Shape& s, int rank, int i) {
  const int own = i - (rank - s.rank());
  return own < 0 ? 1 : s[own];
}

}  // namespace

Shape matmul_shape(const Shape& a, const Shape& b) {
  if (a.rank() < 2 || b.rank() < 2 || a.back() != b[b.rank() - 2]) {
    throw Error(ErrorCode::invalid_argument, "cannot multiply " + a.to_string() + " by " +
                                                 b.to_string() +
                                                 "; expected [..., M, K] by [..., K, N]");
  }
  Shape y;
  const int rank = std::max(a.rank(), b.rank());
  for (int i = 0; i < rank - 2; ++i) {
    const int64_t da = leading(a, rank, i), db = leading(b, rank, i);
    if (da != db && da != 1 && db != 1) {
      throw Error(ErrorCode::invalid_argument, "the leading axes of " + a.to_string() + " and " +
                                                   b.to_string() + " do not broadcast");
    }
    y.push_back(da == 1 ? db : da);
  }
  y.push_back(a[a.rank() - 2]);
  y.push_back(b.back());
  y.elements();
  return y;
}

MatMulBatches::MatMulBatches(const Shape& a, const Shape& b, const Shape& y)
    : count_(y.elements(0, y.rank() - 2)) {
  const int rank = y.rank();
  for (int i = rank - 3; i >= 0; --i) {
    axes_.push_back({y[i], leading(a, rank, i), leading(b, rank, i)});
  }
}

MatMulBatches::Pair MatMulBatches::at(int64_t batch) const {
  Pair pair{0, 0};
  int64_t stride_a = 1, stride_b = 1;
  for (const Axis& axis : axes_) {
    const int64_t i = batch % axis.y;
    batch /= axis.y;
    if (axis.a != 1) pair.a += i * stride_a;
    if (axis.b != 1) pair.b += i * stride_b;
    stride_a *= axis.a;
    stride_b *= axis.b;
  }
  return pair;
}

}  // namespace zeropoint
