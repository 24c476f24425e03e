// Which CPUs threads may run on, and where they are. Other systems than Linux do not say: there all
// CPUs count as usable and threads stay where the system puts them.
#pragma once

#include <chrono>

#if defined(__linux__)
#include <sched.h>
#endif

namespace zeropoint {

// The number of CPUs this process may run on (its cpuset), at least 1.
int usable_cpus();

// The CPU of the calling thread; -1 where that is not known.
int current_cpu();

// Keeps a worker off the caller's CPU. Threads that run and wait in turns look like little work to
// the operating system: where idle CPUs are virtual ones, it leaves the worker beside the caller
// for good.
class CpuChoice {
 public:
#if defined(__linux__)
  CpuChoice();
  // Called by the worker, before it begins.
  void avoid(int cpu);

 private:
  // A move takes about as long as a small layer: not all the time.
  static constexpr std::chrono::milliseconds kPause{1};

  bool known_ = false;  // not where there are more CPUs than a cpu_set_t holds
  bool narrowed_ = false;
  cpu_set_t all_, mine_;
  std::chrono::steady_clock::time_point last_{};
#else
  void avoid(int) {}
#endif
};

}  // namespace zeropoint
