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
#include "base/error.h"
#include "base/fp_environment.h"

namespace zeropoint {
namespace {

constexpr int kMaxThreads = 1024;
// How long a thread looks for news before it goes to sleep: longer than the serial part between
// two layers, far shorter than anybody could notice as CPU use.
constexpr std::chrono::microseconds kSpin{10};

inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

template <typename Condition>
bool spin_until(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      cpu_relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// Counts the forks between the first process and this one.
std::atomic<uint64_t> fork_epoch{0};
void count_fork() { fork_epoch.fetch_add(1); }

struct Job {
  const ThreadPool::Body* body = nullptr;
  int64_t count = 0;
  int parts = 0;
};

// The exception of the lowest part that threw.
struct Failure {
  std::mutex mutex;
  int part = 0;
  std::exception_ptr exception;
};

// Runs parts first, first + step, ...
void run_parts(const Job& job, int first, int step, Failure& failure) {
  for (int part = first; part < job.parts; part += step) {
    // Counts stay below 2^53 and parts at most 1024: the products fit.
    const int64_t begin = job.count * part / job.parts;
    const int64_t end = job.count * (part + 1) / job.parts;
    try {
      (*job.body)(begin, end, part);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failure.mutex);
      if (!failure.exception || part < failure.part) {
        failure.part = part;
        failure.exception = std::current_exception();
      }
      return;  // later parts of this thread could only fail with a higher number
    }
  }
}

// The threads of one process. A child after fork() abandons its parent's team, whose threads and
// lock states mean nothing there, and makes a new one.
class Team {
 public:
  Team() : epoch_(fork_epoch.load()) {}

  ~Team() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  bool of_this_process() const { return epoch_ == fork_epoch.load(); }
  bool enter() { return !busy_.exchange(true, std::memory_order_acquire); }
  void leave() { busy_.store(false, std::memory_order_release); }

  // Only between enter() and leave().
  void run(const Job& job, int threads, Failure& failure) {
    start_workers(threads - 1);
    const int team = std::min(static_cast<int>(workers_.size()) + 1, job.parts);
    if (team > 1) {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
      failure_ = &failure;
      team_ = team;
      pending_.store(team - 1, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
    }
    if (team > 1) start_.notify_all();
    run_parts(job, 0, team, failure);
    if (team > 1) wait_for_workers();
  }

 private:
  void start_workers(int wanted) {
    if (static_cast<int>(workers_.size()) >= wanted || exhausted_) return;
    // Signals are the host program's business: its own threads take them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      while (static_cast<int>(workers_.size()) < wanted) {
        const int index = static_cast<int>(workers_.size()) + 1;
        const uint64_t seen = generation_.load();
        workers_.emplace_back([this, index, seen] { work(index, seen); });
      }
    } catch (const std::exception&) {
      exhausted_ = true;  // a thread or memory limit: the threads there are do all the parts
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void wait_for_workers() {
    const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
    if (spin_until(done)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, done);
  }

  void work(int index, uint64_t seen) {
    const ScopedFpEnvironment environment;
    const auto news = [this, &seen] { return generation_.load(std::memory_order_acquire) != seen; };
    while (true) {
      Job job;
      Failure* failure = nullptr;
      int team = 0;
      spin_until(news);
      {
        std::unique_lock<std::mutex> lock(mutex_);
        start_.wait(lock, news);
        if (stop_) return;
        seen = generation_.load(std::memory_order_relaxed);
        job = job_;
        failure = failure_;
        team = team_;
      }
      if (index >= team) continue;  // the work had fewer parts than there are threads
      run_parts(job, index, team, *failure);
      // The lock orders this before the caller's check, so that no wake-up is lost.
      const std::lock_guard<std::mutex> lock(mutex_);
      if (pending_.fetch_sub(1, std::memory_order_release) == 1) done_.notify_one();
    }
  }

  const uint64_t epoch_;
  std::atomic<bool> busy_{false};
  bool exhausted_ = false;
  std::vector<std::thread> workers_;

  std::mutex mutex_;  // guards what follows; atomics are also read without it
  std::condition_variable start_, done_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> pending_{0};
  bool stop_ = false;
  int team_ = 0;
  Job job_;
  Failure* failure_ = nullptr;
};

}  // namespace

int usable_cpus() {
  // The kernel's mask may be wider than cpu_set_t: grow until it fits.
  for (int cpus = CPU_SETSIZE; cpus <= (1 << 16); cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

struct ThreadPool::State {
  explicit State(int parts) : size(parts), threads(std::min(parts, usable_cpus())) {}
  ~State() {
    Team* last = team.load();
    if (last != nullptr && last->of_this_process()) delete last;
  }

  Team& current() {
    Team* held = team.load(std::memory_order_acquire);
    if (held != nullptr && held->of_this_process()) return *held;
    auto fresh = std::make_unique<Team>();
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

void ThreadPool::parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int64_t most = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const Job job{&body, count, static_cast<int>(std::min<int64_t>(most, state_->size))};

  Failure failure;
  if (job.parts == 1 || state_->threads == 1) {
    run_parts(job, 0, 1, failure);
  } else {
    Team& team = state_->current();
    if (team.enter()) {
      team.run(job, state_->threads, failure);
      team.leave();
    } else {
      run_parts(job, 0, 1, failure);
    }
  }
  if (failure.exception) std::rethrow_exception(failure.exception);
}

}  // namespace zeropoint
