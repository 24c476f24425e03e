#include "ops/broadcast.h"

#include "base/error.h"

namespace zeropoint {

Shape broadcast_shape(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank());
    const int ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia];
    const int64_t db = ib < 0 ? 1 : b[ib];
    if (da != db && da != 1 && db != 1) {
      throw Error(ErrorCode::invalid_argument, "shapes " + a.to_string() + " and " + b.to_string() +
                                                   " cannot be broadcast together");
    }
    out.push_back(da == 1 ? db : da);
  }
  return out;
}

std::vector<Broadcast::Dim> Broadcast::merged_dims(const Shape& a, const Shape& b) {
  const Shape out = broadcast_shape(a, b);
  std::vector<Dim> dims;
  for (int i = 0; i < out.rank(); ++i) {
    if (out[i] == 1) continue;
    const int ia = i - (out.rank() - a.rank());
    const int ib = i - (out.rank() - b.rank());
    const Dim dim{out[i], ia >= 0 && a[ia] != 1, ib >= 0 && b[ib] != 1};
    if (!dims.empty() && dims.back().in_a == dim.in_a && dims.back().in_b == dim.in_b) {
      dims.back().size *= dim.size;
    } else {
      dims.push_back(dim);
    }
  }
  if (dims.empty()) dims.push_back({1, true, true});
  return dims;
}

Broadcast::Broadcast(const Shape& a, const Shape& b) {
  std::vector<Dim> dims = merged_dims(a, b);
  const Dim inner = dims.back();
  dims.pop_back();
  units_ = inner.size;
  unit_ = 1;
  units_per_item_ = kPlainRun;
  a_step_ = inner.in_a ? 1 : 0;
  b_step_ = inner.in_b ? 1 : 0;

  if (!dims.empty() && inner.size > 0 && inner.size < kShortRun) {
    const Dim& middle = dims.back();
    // One operand covers both dimensions, the other only the inner one (tile) or only the middle
    // one (repeat).
    const bool a_whole = inner.in_a && middle.in_a;
    const bool b_whole = inner.in_b && middle.in_b;
    if (a_whole != b_whole) {
      spread_a_ = b_whole;
      spread_ = (spread_a_ ? inner.in_a : inner.in_b) ? Spread::tile : Spread::repeat;
      units_ = middle.size;
      unit_ = inner.size;
      units_per_item_ = kBlock / inner.size;
      dims.pop_back();
    }
  }

  // Strides of the remaining dimensions, from the inside out.
  int64_t a_size = 1, b_size = 1;
  if (spread_ == Spread::none) {
    a_size = inner.in_a ? inner.size : 1;
    b_size = inner.in_b ? inner.size : 1;
  } else {
    const int64_t part = spread_ == Spread::tile ? unit_ : units_;
    a_size = spread_a_ ? part : units_ * unit_;
    b_size = spread_a_ ? units_ * unit_ : part;
  }
  outer_.resize(dims.size());
  for (size_t i = dims.size(); i-- > 0;) {
    outer_[i] = {dims[i].size, dims[i].in_a ? a_size : 0, dims[i].in_b ? b_size : 0};
    if (dims[i].in_a) a_size *= dims[i].size;
    if (dims[i].in_b) b_size *= dims[i].size;
    outer_count_ *= dims[i].size;
  }
}

Broadcast::Offsets Broadcast::outer_offsets(int64_t index) const {
  Offsets offsets;
  for (size_t i = outer_.size(); i-- > 0;) {
    const int64_t at = index % outer_[i].size;
    index /= outer_[i].size;
    offsets.a += at * outer_[i].a_stride;
    offsets.b += at * outer_[i].b_stride;
  }
  return offsets;
}

}  // namespace zeropoint
