// A small pool for one session: splits that do not depend on timing, no spinning while idle.
#pragma once

#include <cstdint>
#include <memory>

namespace zeropoint {

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread and decides how work is split: size() == threads.
  // At most usable_cpus() operating-system threads do the work. They are started by the first split
  // of more than one part, and started anew in a child process after fork().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Splits [0, count) into at most size() nearly equal ranges of at least `grain` items (a
  // function of count, grain and size() alone) and calls body(begin, end, part) once for each;
  // `part` < size() names the range, for per-part scratch. Returns when all are done. When bodies
  // throw, the exception of the lowest part is rethrown here.
  //
  // A range goes to the same thread in every split, so that what it wrote is in its cache for the
  // next one; whoever has finished takes over what others have not begun, the caller included,
  // which therefore never waits for a thread to wake up. When another thread is inside the pool
  // already, or a body calls this again, the caller runs the same ranges by itself. Results never
  // depend on who ran what.
  template <typename Body>
  void parallel_for(int64_t count, int64_t grain, const Body& body) {
    const int parts = parts_of(count, grain);
    if (parts == 1) {
      body(int64_t{0}, count, 0);
    } else if (parts > 1) {
      run({&call<Body>, &body, count, parts, false});
    }
  }

  // The same, but where every thread has a range, ranges are cut further, into pieces of at least
  // `piece` items and at most kPieces a thread: one that is held up, because its CPU is slower or
  // runs something else as well, then keeps the others waiting for a piece at most. How many there
  // are depends on the CPUs that the process may use as well. `slot` < size() names the thread that
  // runs a piece, for its scratch; all is slot 0 where the caller runs everything by itself.
  template <typename Body>
  void parallel_pieces(int64_t count, int64_t grain, int64_t piece, const Body& body) {
    const int pieces = pieces_of(count, grain, piece);
    if (pieces == 1) {
      body(int64_t{0}, count, 0);
    } else if (pieces > 1) {
      run({&call<Body>, &body, count, pieces, true});
    }
  }

 private:
  static constexpr int kPieces = 4;

  class Team;
  struct State;

  // One split: a body without its type.
  struct Job {
    void (*call)(const void* body, int64_t begin, int64_t end, int part) = nullptr;
    const void* body = nullptr;
    int64_t count = 0;
    int parts = 0;
    bool by_slot = false;  // the last argument is the thread's slot, not the part
  };

  template <typename Body>
  static void call(const void* body, int64_t begin, int64_t end, int part) {
    (*static_cast<const Body*>(body))(begin, end, part);
  }

  int parts_of(int64_t count, int64_t grain) const;
  int pieces_of(int64_t count, int64_t grain, int64_t piece) const;
  void run(const Job& job);

  std::unique_ptr<State> state_;
};

}  // namespace zeropoint
