#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/checked_math.h"
#include "base/cpu_affinity.h"
#include "base/error.h"
#include "base/fp_environment.h"

namespace zeropoint {
namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kCacheLine = 64;

// How long a thread looks for news before it goes to sleep: about what waking it would cost, longer
// than the serial part between two layers, far shorter than anybody could notice as CPU use.
constexpr std::chrono::microseconds kSpin{50};
// After this it lets others have its CPU: where there are more threads than CPUs, what it waits for
// may be waiting for that CPU.
constexpr std::chrono::microseconds kSpinAlone{5};

inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

template <typename Condition>
bool spin_until(const Condition& condition) {
  if (condition()) return true;
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    for (int i = 0; i < 16; ++i) {
      cpu_relax();
      if (condition()) return true;
    }
    const auto spent = std::chrono::steady_clock::now() - start;
    if (spent > kSpin) return false;
    if (spent > kSpinAlone) sched_yield();
  }
}

// Counts the forks between the first process and this one.
std::atomic<uint64_t> fork_epoch{0};
void count_fork() { fork_epoch.fetch_add(1); }

// The exception of the lowest part that threw.
class Failure {
 public:
  void record(int part) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (exception_ && part_ < part) return;
    part_ = part;
    exception_ = std::current_exception();
  }
  void rethrow() {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::mutex mutex_;
  int part_ = 0;
  std::exception_ptr exception_;
};

}  // namespace

// The threads of one process. A child after fork() abandons its parent's team, whose threads and
// lock states mean nothing there, and makes a new one.
//
// Jobs are numbered. A job is published by storing its ticket, number and parts, in one word; a
// part belongs to the thread that raises the part's claim to the job's number. Who comes late with
// an old ticket finds every claim taken, and so never touches a job that is over: nobody has to
// wait for threads that have not begun.
class ThreadPool::Team {
 public:
  Team(int parts, int threads)
      : epoch_(fork_epoch.load()),
        threads_(threads),
        claims_(static_cast<size_t>(std::min(kMaxThreads, parts * kPieces))) {}

  ~Team() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_.store(true);
    }
    news_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  bool of_this_process() const { return epoch_ == fork_epoch.load(std::memory_order_relaxed); }
  bool enter() { return !busy_.exchange(true, std::memory_order_acquire); }
  void leave() { busy_.store(false, std::memory_order_release); }

  // Only between enter() and leave().
  void run(const Job& job, Failure& failure) {
    start_workers();
    job_ = job;
    failure_ = &failure;
    finished_.store(0, std::memory_order_relaxed);
    const Ticket ticket = make_ticket(++number_, job.parts);
    // Either a worker sees the ticket before it sleeps, or it is counted here: both sides store
    // first and load then, in one order for all.
    caller_cpu_.store(current_cpu(), std::memory_order_relaxed);
    ticket_.store(ticket);
    wake(job.parts - 1);
    take_parts(ticket, 0);
    wait_for(job.parts);
  }

 private:
  // The number of a job, and its parts in the low bits.
  using Ticket = uint64_t;
  static constexpr int kPartBits = 16;
  static Ticket make_ticket(uint64_t number, int parts) {
    return number << kPartBits | static_cast<uint64_t>(parts);
  }

  // On a cache line of its own: threads claim parts at the same time.
  struct alignas(kCacheLine) Claim {
    std::atomic<uint64_t> number{0};  // of the last job whose part was taken
  };

  void start_workers() {
    if (static_cast<int>(workers_.size()) >= threads_ - 1 || exhausted_) return;
    // Signals are the host program's business: its own threads take them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      while (static_cast<int>(workers_.size()) < threads_ - 1) {
        const int index = static_cast<int>(workers_.size()) + 1;
        workers_.emplace_back([this, index] { work(index); });
      }
    } catch (const std::exception&) {
      exhausted_ = true;  // a thread or memory limit: the threads there are do all the parts
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  // Sees to it that so many workers are awake.
  void wake(int wanted) {
    const int sleeping = sleeping_.load();
    const int missing = std::min(sleeping, wanted - (static_cast<int>(workers_.size()) - sleeping));
    if (missing <= 0) return;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }  // who is counted waits by now
    for (int i = 0; i < missing; ++i) news_.notify_one();
  }

  // Runs the thread's own parts, which lie side by side, then those that nobody has begun, others'
  // last ones first.
  void take_parts(Ticket ticket, int index) {
    const int parts = static_cast<int>(ticket & ((1 << kPartBits) - 1));
    const int shares = std::min(parts, threads_);
    if (index < shares) {
      const int end = parts * (index + 1) / shares;
      for (int part = parts * index / shares; part < end; ++part) take(ticket, part, index);
    }
    for (int part = parts - 1; part >= 0; --part) take(ticket, part, index);
  }

  void take(Ticket ticket, int part, int index) {
    std::atomic<uint64_t>& claim = claims_[static_cast<size_t>(part)].number;
    const uint64_t number = ticket >> kPartBits;
    uint64_t last = claim.load(std::memory_order_relaxed);
    if (last >= number || !claim.compare_exchange_strong(last, number)) return;
    // From here to the end of finished_'s rise the job cannot end.
    // Counts stay below 2^53 and parts at most kMaxThreads: the products fit.
    const int64_t begin = job_.count * part / job_.parts;
    const int64_t end = job_.count * (part + 1) / job_.parts;
    try {
      job_.call(job_.body, begin, end, job_.by_slot ? index : part);
    } catch (...) {
      failure_->record(part);
    }
    const int parts = job_.parts;
    if (finished_.fetch_add(1) + 1 == parts && waiting_.load()) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
      }
      done_.notify_all();
    }
  }

  void wait_for(int parts) {
    const auto done = [this, parts] { return finished_.load(std::memory_order_acquire) == parts; };
    if (spin_until(done)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    waiting_.store(true);
    done_.wait(lock, [this, parts] { return finished_.load() == parts; });
    waiting_.store(false);
  }

  void work(int index) {
    const ScopedFpEnvironment environment;
    Ticket seen = 0;
    CpuChoice cpus;
    const auto news = [this, &seen] { return ticket_.load() != seen || stop_.load(); };
    while (true) {
      if (!spin_until(news)) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1);
        news_.wait(lock, news);
        sleeping_.fetch_sub(1);
      }
      if (stop_.load()) return;
      seen = ticket_.load(std::memory_order_acquire);
      cpus.avoid(caller_cpu_.load(std::memory_order_relaxed));
      take_parts(seen, index);
    }
  }

  const uint64_t epoch_;
  const int threads_;  // the caller's included
  std::vector<Claim> claims_;
  std::vector<std::thread> workers_;
  bool exhausted_ = false;
  uint64_t number_ = 0;

  // What a worker reads to begin is on one cache line.
  alignas(kCacheLine) std::atomic<Ticket> ticket_{0};
  std::atomic<int> caller_cpu_{-1};
  Job job_;
  Failure* failure_ = nullptr;
  alignas(kCacheLine) std::atomic<int> finished_{0};  // parts of the job
  alignas(kCacheLine) std::atomic<bool> busy_{false};

  std::mutex mutex_;  // of the condition variables alone
  std::condition_variable news_, done_;
  std::atomic<int> sleeping_{0};      // workers
  std::atomic<bool> waiting_{false};  // is the caller asleep?
  std::atomic<bool> stop_{false};
};

struct ThreadPool::State {
  explicit State(int parts) : size(parts), threads(std::min(parts, usable_cpus())) {}
  ~State() {
    Team* last = team.load();
    if (last != nullptr && last->of_this_process()) delete last;
  }

  Team& current() {
    Team* held = team.load(std::memory_order_acquire);
    if (held != nullptr && held->of_this_process()) return *held;
    auto fresh = std::make_unique<Team>(size, threads);
    // A parent's team is left alone: destroying it would wait for threads that are not here.
    if (team.compare_exchange_strong(held, fresh.get())) return *fresh.release();
    return *held;
  }

  const int size;
  const int threads;
  std::atomic<Team*> team{nullptr};
};

ThreadPool::ThreadPool(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    throw Error(ErrorCode::invalid_argument, "threads must be from 1 to " +
                                                 std::to_string(kMaxThreads) + ", not " +
                                                 std::to_string(threads));
  }
  static const int registered = pthread_atfork(nullptr, nullptr, count_fork);
  (void)registered;
  state_ = std::make_unique<State>(threads);
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return state_->size; }

int ThreadPool::parts_of(int64_t count, int64_t grain) const {
  if (count <= 0) return 0;
  const int64_t most = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  return static_cast<int>(std::min<int64_t>(most, state_->size));
}

int ThreadPool::pieces_of(int64_t count, int64_t grain, int64_t piece) const {
  const int parts = parts_of(count, grain);
  if (state_->threads == 1 || parts < state_->threads) return parts;
  const int64_t most = std::min<int64_t>(kMaxThreads, int64_t{kPieces} * state_->threads);
  const int64_t pieces = std::min(most, count / std::max<int64_t>(1, piece));
  // As many for each thread.
  return std::max(parts, static_cast<int>(pieces / state_->threads) * state_->threads);
}

void ThreadPool::run(const Job& job) {
  if (state_->threads > 1) {
    Team& team = state_->current();
    if (team.enter()) {
      Failure failure;
      team.run(job, failure);
      team.leave();
      failure.rethrow();
      return;
    }
  }
  for (int part = 0; part < job.parts; ++part) {
    job.call(job.body, job.count * part / job.parts, job.count * (part + 1) / job.parts,
             job.by_slot ? 0 : part);
  }
}

}  // namespace zeropoint
