#include "base/shape.h"

namespace zeropoint {

int64_t Shape::elements(int from, int to) const {
  int64_t n = 1;
  for (int i = from; i < to; ++i) n = checked_mul(n, (*this)[i], "a tensor's element count");
  return n;
}

std::string Shape::to_string() const {
  std::string s = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i) s += ", ";
    s += (*this)[i] < 0 ? std::string("?") : std::to_string((*this)[i]);
  }
  return s + "]";
}

}  // namespace zeropoint
