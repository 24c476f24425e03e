#include "runtime/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"

namespace zeropoint {
namespace {

struct Placed {
  int64_t begin, end;
  int first, last;
};

[[noreturn]] void fail() {
  throw Error(ErrorCode::out_of_memory,
              "a run needs more than 1 TiB for its activations; use a smaller batch or input");
}

}  // namespace

MemoryPlan plan_memory(const std::vector<BufferRequest>& requests) {
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].bytes > requests[b].bytes; });

  MemoryPlan plan;
  plan.offsets.resize(requests.size());
  std::vector<Placed> placed;  // by begin
  placed.reserve(requests.size());
  for (const size_t index : order) {
    const BufferRequest& request = requests[index];
    if (request.bytes > kMaxBytes) fail();
    const int64_t bytes =
        round_up(request.bytes + static_cast<int64_t>(kOverreadBytes), kBufferAlignment);
    // Walks over those alive at the same time, from low to high addresses; `free_from` is where
    // the gap before the next of them begins.
    int64_t best = -1;
    int64_t best_gap = std::numeric_limits<int64_t>::max();
    int64_t free_from = 0;
    for (const Placed& other : placed) {
      if (other.last < request.first || other.first > request.last) continue;
      const int64_t gap = other.begin - free_from;
      if (gap >= bytes && gap < best_gap) {
        best = free_from;
        best_gap = gap;
      }
      free_from = std::max(free_from, other.end);
    }
    if (best < 0) best = free_from;
    const int64_t end = best + bytes;
    if (end > kMaxBytes) fail();
    plan.offsets[index] = best;
    plan.arena_bytes = std::max(plan.arena_bytes, end);
    const auto at = std::upper_bound(placed.begin(), placed.end(), best,
                                     [](int64_t v, const Placed& p) { return v < p.begin; });
    placed.insert(at, Placed{best, end, request.first, request.last});
  }
  return plan;
}

}  // namespace zeropoint
