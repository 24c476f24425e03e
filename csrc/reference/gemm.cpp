#include "reference/gemm.h"

#include <limits>
#include <stdexcept>

namespace zeropoint::reference {

std::vector<int32_t> gemm_s8_s32(const GemmS8& p) {
  std::vector<int32_t> c(static_cast<size_t>(p.m * p.n));
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      int64_t sum = p.bias[static_cast<size_t>(j)];
      for (int64_t k = 0; k < p.k; ++k) {
        sum += int64_t{p.a[static_cast<size_t>(i * p.k + k)]} *
               int64_t{p.b[static_cast<size_t>(j * p.k + k)]};
      }
      if (sum < std::numeric_limits<int32_t>::min() || sum > std::numeric_limits<int32_t>::max()) {
        throw std::overflow_error("the accumulator does not fit int32");
      }
      c[static_cast<size_t>(i * p.n + j)] = static_cast<int32_t>(sum);
    }
  }
  return c;
}

std::vector<act_t> gemm_s8(const GemmS8& p) {
  const std::vector<int32_t> sums = gemm_s8_s32(p);
  std::vector<act_t> c(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const size_t column = i % static_cast<size_t>(p.n);
    c[i] = requantize(sums[i], p.multiplier[column], p.clamp);
  }
  return c;
}

std::vector<act_t> gemm_s8_add(const GemmS8& p, const ResidualS8& residual) {
  std::vector<act_t> c = gemm_s8(p);
  for (size_t i = 0; i < c.size(); ++i) {
    c[i] = add(c[i], p.clamp.zero_point, residual.multiplier_c, residual.values[i],
               residual.zero_point, residual.multiplier, residual.clamp);
  }
  return c;
}

}  // namespace zeropoint::reference
