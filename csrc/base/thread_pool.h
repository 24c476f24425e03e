// A small pool for one session: static splits, no spinning while idle.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace zeropoint {

// The number of CPUs this process may run on (its cpuset), at least 1.
int usable_cpus();

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread and decides how work is split: size() == threads.
  // At most usable_cpus() operating-system threads do the work; part p of a split belongs to
  // thread p % that number. They are started by the first split of more than one part, and
  // started anew in a child process after fork().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Splits [0, count) into at most size() nearly equal ranges of at least `grain` items (a
  // function of count, grain and size() alone) and calls body(begin, end, part) once for each;
  // `part` < size() names the range, for per-part scratch. Returns when all are done. When bodies
  // throw, the exception of the lowest part is rethrown here. When another thread is inside the
  // pool already, or a body calls this again, the caller runs the same ranges by itself: results
  // never depend on who ran what.
  using Body = std::function<void(int64_t begin, int64_t end, int part)>;
  void parallel_for(int64_t count, int64_t grain, const Body& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zeropoint
