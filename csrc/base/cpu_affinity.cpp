#include "base/cpu_affinity.h"

#include <algorithm>
#include <thread>

namespace zeropoint {

#if defined(__linux__)

int current_cpu() { return sched_getcpu(); }

CpuChoice::CpuChoice() { known_ = sched_getaffinity(0, sizeof all_, &all_) == 0; }

void CpuChoice::avoid(int cpu) {
  if (current_cpu() != cpu || !known_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kPause) return;
  last_ = now;
  cpu_set_t found;
  if (sched_getaffinity(0, sizeof found, &found) != 0) return;
  // Whoever else has set it knows better.
  if (!narrowed_ || !CPU_EQUAL(&found, &mine_)) all_ = found;
  mine_ = all_;
  CPU_CLR(static_cast<size_t>(cpu), &mine_);
  narrowed_ = CPU_COUNT(&mine_) > 0 && sched_setaffinity(0, sizeof mine_, &mine_) == 0;
}

#else

int current_cpu() { return -1; }

#endif

int usable_cpus() {
#if defined(__linux__)
  // The kernel's mask may be wider than cpu_set_t: grow until it fits.
  for (int cpus = CPU_SETSIZE; cpus <= (1 << 16); cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace zeropoint
