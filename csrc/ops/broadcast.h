// NumPy broadcasting of two operands, turned into runs that elementwise kernels understand.
//
// Neighbouring dimensions that broadcast alike are merged, which leaves one run per operand pair in
// the usual cases: equal shapes (one run), a scalar (one run, step 0). Where a short vector or
// single values face a long operand (a per-channel vector, the [N, 1, 1, C] scale of a
// squeeze-and-excitation block, an [N, H, W, 1] mask), the short one is spread over a small buffer,
// so that kernels always work on runs of about a thousand elements.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/shape.h"
#include "base/thread_pool.h"
#include "ops/plan.h"

namespace zeropoint {

// The broadcast shape of two; Error when a dimension differs and neither is 1.
Shape broadcast_shape(const Shape& a, const Shape& b);

class Broadcast {
 public:
  Broadcast(const Shape& a, const Shape& b);

  // Calls apply(a, a_step, b, b_step, y, n) over all elements of y, with steps of 0 or 1.
  template <typename T, typename Apply>
  void run(const T* a, const T* b, T* y, ThreadPool& pool, double nanoseconds_per_element,
           const Apply& apply) const;

 private:
  enum class Spread : uint8_t { none, tile, repeat };

  struct Dim {
    int64_t size;
    bool in_a, in_b;
  };
  struct OuterDim {
    int64_t size, a_stride, b_stride;
  };
  struct Offsets {
    int64_t a = 0, b = 0;
  };

  static constexpr int64_t kBlock = 2048;        // elements of the buffer for a spread operand
  static constexpr int64_t kShortRun = 256;      // shorter runs are worth spreading
  static constexpr int64_t kPlainRun = 1 << 14;  // longer runs are cut, to be shared by threads

  static std::vector<Dim> merged_dims(const Shape& a, const Shape& b);
  Offsets outer_offsets(int64_t index) const;

  std::vector<OuterDim> outer_;
  int64_t outer_count_ = 1;
  // The inner block of y: `units` units of `unit` elements each. Without a spread operand a unit is
  // one element.
  int64_t units_ = 1, unit_ = 1, units_per_item_ = 1;
  int a_step_ = 1, b_step_ = 1;  // of the whole operands (1) or of those that stay put (0)
  Spread spread_ = Spread::none;
  bool spread_a_ = false;  // which operand is spread
};

template <typename T, typename Apply>
void Broadcast::run(const T* a, const T* b, T* y, ThreadPool& pool, double nanoseconds_per_element,
                    const Apply& apply) const {
  const int64_t items_per_block = ceil_div(units_, units_per_item_);
  const int64_t items = outer_count_ * items_per_block;
  if (units_ * unit_ == 0 || items == 0) return;
  const double item_elements = static_cast<double>(std::min(units_, units_per_item_) * unit_);
  pool.parallel_for(
      items, grain_for(item_elements * nanoseconds_per_element),
      [&](int64_t begin, int64_t end, int) {
        alignas(64) T buffer[static_cast<size_t>(kBlock) + kOverreadBytes / sizeof(T)];
        if (spread_ != Spread::none) std::memset(buffer, 0, sizeof(buffer));
        int64_t tiled_for = -1;
        for (int64_t item = begin; item < end; ++item) {
          const int64_t outer = item / items_per_block;
          const int64_t first = item % items_per_block * units_per_item_;
          const int64_t count = std::min(units_per_item_, units_ - first);
          const Offsets offsets = outer_offsets(outer);
          T* to = y + (outer * units_ + first) * unit_;
          if (spread_ == Spread::none) {
            apply(a + offsets.a + first * a_step_, a_step_, b + offsets.b + first * b_step_,
                  b_step_, to, count);
            continue;
          }
          const T* whole = (spread_a_ ? b + offsets.b : a + offsets.a) + first * unit_;
          const T* part = spread_a_ ? a + offsets.a : b + offsets.b;
          if (spread_ == Spread::repeat) {
            for (int64_t u = 0; u < count; ++u) {
              std::fill_n(buffer + u * unit_, unit_, part[first + u]);
            }
          } else if (tiled_for != outer) {
            const auto bytes = static_cast<size_t>(unit_) * sizeof(T);
            for (int64_t u = 0; u < std::min(units_per_item_, units_); ++u) {
              std::memcpy(buffer + u * unit_, part, bytes);
            }
            tiled_for = outer;
          }
          apply(spread_a_ ? buffer : whole, 1, spread_a_ ? whole : buffer, 1, to, count * unit_);
        }
      });
}

}  // namespace zeropoint
