#include "base/thread_pool.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/cpu_affinity.h"
#include "base/error.h"
#include "base/fp_environment.h"
#include "support.h"

namespace zeropoint {
namespace {

using Range = std::tuple<int64_t, int64_t, int>;

std::vector<Range> ranges_of(ThreadPool& pool, int64_t count, int64_t grain) {
  std::mutex mutex;
  std::vector<Range> ranges;
  pool.parallel_for(count, grain, [&](int64_t begin, int64_t end, int part) {
    const std::lock_guard<std::mutex> lock(mutex);
    ranges.emplace_back(begin, end, part);
  });
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

TEST_CASE("thread pool: ranges cover the count once, are even, and follow from the sizes alone") {
  for (const int threads : {1, 2, 3, 5, 16}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (const int64_t count : {0, 1, 2, 4, 5, 7, 100, 1000}) {
      for (const int64_t grain : {0, 1, 2, 3, 100}) {
        INFO("threads " << threads << ", count " << count << ", grain " << grain);
        const std::vector<Range> ranges = ranges_of(pool, count, grain);
        CHECK(ranges == ranges_of(pool, count, grain));
        int64_t next = 0;
        int64_t shortest = count;
        int64_t longest = 0;
        for (size_t i = 0; i < ranges.size(); ++i) {
          const auto [begin, end, part] = ranges[i];
          CHECK(begin == next);
          CHECK(part == static_cast<int>(i));
          next = end;
          shortest = std::min(shortest, end - begin);
          longest = std::max(longest, end - begin);
        }
        CHECK(next == count);
        CHECK(static_cast<int>(ranges.size()) <= threads);
        if (count > 0) CHECK(longest - shortest <= 1);
        if (ranges.size() > 1) CHECK(shortest >= grain);
        if (grain <= 1)
          CHECK(static_cast<int64_t>(ranges.size()) == std::min<int64_t>(threads, count));
      }
    }
  }
}

TEST_CASE("thread pool: refuses sizes that make no sense") {
  for (const int threads : {0, -1, 1025}) CHECK_THROWS_AS(ThreadPool{threads}, Error);
}

TEST_CASE("thread pool: no more threads than CPUs, and work really leaves the caller") {
  ThreadPool pool(5);
  const size_t expected = static_cast<size_t>(std::min(5, usable_cpus()));
  std::mutex mutex;
  std::condition_variable arrived;
  std::set<std::thread::id> ids;
  pool.parallel_for(5, 1, [&](int64_t, int64_t, int) {
    std::unique_lock<std::mutex> lock(mutex);
    ids.insert(std::this_thread::get_id());
    arrived.notify_all();
    // Nobody goes on to another part before every thread has one.
    arrived.wait_for(lock, std::chrono::seconds(10), [&] { return ids.size() >= expected; });
  });
  CHECK(ids.size() == expected);
  CHECK(ids.count(std::this_thread::get_id()) == 1);
}

// Waits for a condition that others bring about, for a bounded time.
template <typename Condition>
bool comes_true(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("thread pool: in every split a part goes to the same thread") {
  if (usable_cpus() < 2) return;
  ThreadPool pool(2);
  std::thread::id of_part[2];
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> begun{0};
    std::thread::id now[2];
    pool.parallel_for(2, 1, [&](int64_t, int64_t, int part) {
      ++begun;
      now[part] = std::this_thread::get_id();
      comes_true([&] { return begun == 2; });
    });
    if (repeat == 0) std::copy_n(now, 2, of_part);
    CHECK((now[0] == std::this_thread::get_id()));
    CHECK((now[0] == of_part[0]));
    CHECK((now[1] == of_part[1]));
  }
}

TEST_CASE("thread pool: parts that a busy thread has not begun are taken over") {
  if (usable_cpus() < 2) return;
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<bool> last_ran{false};
    bool seen = false;
    // Of two threads one would have parts 2 and 3, and would wait for itself.
    pool.parallel_for(4, 1, [&](int64_t, int64_t, int part) {
      if (part == 2) seen = comes_true([&] { return last_ran.load(); });
      if (part == 3) last_ran = true;
    });
    CHECK(seen);
  }
}

TEST_CASE("thread pool: pieces cover every item once, and no two at a time have one slot") {
  for (const int threads : {1, 2, 3, 5, 300}) {
    ThreadPool pool(threads);
    for (const int64_t count : {0, 1, 2, 7, 100, 2000}) {
      for (const int64_t piece : {1, 3, 60, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
        std::vector<std::atomic<int>> inside(static_cast<size_t>(threads));
        std::atomic<int> pieces{0}, clashes{0}, short_ones{0};
        pool.parallel_pieces(count, 1, piece, [&](int64_t begin, int64_t end, int slot) {
          ++pieces;
          if (inside.at(static_cast<size_t>(slot))++ != 0) ++clashes;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
          if (end - begin < piece) ++short_ones;
          --inside[static_cast<size_t>(slot)];
        });
        INFO(threads << " threads, " << count << " items, pieces of " << piece);
        for (const auto& times : seen) CHECK(times == 1);
        CHECK(clashes == 0);
        // Fewer items than a piece only where that takes work for every thread.
        if (pieces > threads) CHECK(short_ones == 0);
        if (threads == 1) CHECK(pieces == (count > 0 ? 1 : 0));
      }
    }
  }
}

TEST_CASE("thread pool: a thread that is held up keeps the others waiting for one piece") {
  if (usable_cpus() < 2) return;
  ThreadPool pool(2);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> others{0};
    bool seen = false;
    // The first piece ends when all the others are done, the rest of its thread's among them.
    pool.parallel_pieces(8, 1, 1, [&](int64_t begin, int64_t, int) {
      if (begin == 0) {
        seen = comes_true([&] { return others == 7; });
      } else {
        ++others;
      }
    });
    CHECK(seen);
  }
}

// Sets the CPUs of all threads of this process.
void allow(const cpu_set_t& cpus) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t thread = std::stoi(task.path().filename().string());
    sched_setaffinity(thread, sizeof cpus, &cpus);
  }
}

TEST_CASE(
    "thread pool: a worker that is left on the caller's CPU goes elsewhere, within its CPUs") {
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  if (CPU_COUNT(&all) < 2) return;
  ThreadPool pool(2);
  cpu_set_t of_worker = all;
  int caller_cpu = 0;
  const auto split = [&] {
    std::atomic<int> begun{0};
    pool.parallel_for(2, 1, [&](int64_t, int64_t, int part) {
      ++begun;
      comes_true([&] { return begun == 2; });
      if (part == 0) caller_cpu = sched_getcpu();
      if (part == 1) sched_getaffinity(0, sizeof of_worker, &of_worker);
    });
  };
  split();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  allow(one);
  for (int repeat = 0; repeat < 10; ++repeat) split();
  CHECK(CPU_EQUAL(&of_worker, &one));  // nowhere to go
  allow(all);
  CHECK(comes_true([&] {
    split();
    return !CPU_ISSET(caller_cpu, &of_worker);
  }));
  cpu_set_t outside;
  CPU_XOR(&outside, &of_worker, &all);
  CPU_AND(&outside, &outside, &of_worker);
  CHECK(CPU_COUNT(&outside) == 0);
  allow(all);
}

TEST_CASE("thread pool: the lowest part's exception arrives, and the pool stays usable") {
  ThreadPool pool(5);
  for (int repeat = 0; repeat < 50; ++repeat) {
    std::string what;
    try {
      pool.parallel_for(5, 1, [](int64_t, int64_t, int part) {
        if (part >= 1) throw std::runtime_error(std::to_string(part));
      });
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    CHECK(what == "1");
    CHECK(ranges_of(pool, 5, 1).size() == 5);
  }
}

TEST_CASE("thread pool: nested use runs the same ranges on the caller") {
  ThreadPool pool(3);
  std::atomic<int> inner{0};
  pool.parallel_for(3, 1, [&](int64_t, int64_t, int) {
    CHECK(ranges_of(pool, 9, 1).size() == 3);
    ++inner;
  });
  CHECK(inner == 3);
}

TEST_CASE("thread pool: several threads at once") {
  ThreadPool pool(4);
  std::atomic<int64_t> total{0};
  std::vector<std::thread> users;
  for (int u = 0; u < 4; ++u) {
    users.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        pool.parallel_for(100, 1, [&](int64_t begin, int64_t end, int) { total += end - begin; });
      }
    });
  }
  for (std::thread& user : users) user.join();
  CHECK(total == 4 * 500 * 100);
}

// How float additions round here: 1 + 2^-24 is a tie, which goes down to even.
bool rounds_to_nearest() {
  volatile float one = 1.0f;
  return one + 0x1p-24f == 1.0f && one + 0x1.8p-24f > 1.0f && -one - 0x1.8p-24f < -1.0f;
}

TEST_CASE("thread pool: workers round to nearest whatever the caller does") {
  ThreadPool pool(2);
  REQUIRE(std::fesetround(FE_UPWARD) == 0);
  CHECK_FALSE(rounds_to_nearest());
  std::vector<char> nearest(2, 1);
  std::atomic<int> begun{0};
  pool.parallel_for(2, 1, [&](int64_t, int64_t, int part) {
    ++begun;
    if (usable_cpus() < 2 || !comes_true([&] { return begun == 2; })) return;
    if (part == 1) nearest[1] = rounds_to_nearest();
  });
  std::fesetround(FE_TONEAREST);
  CHECK(nearest[1]);
}

TEST_CASE("floating-point environment: set for the scope, restored after it") {
  REQUIRE(std::fesetround(FE_UPWARD) == 0);
  {
    const ScopedFpEnvironment environment;
    CHECK(rounds_to_nearest());
    volatile float small = 1.2e-38f;
    CHECK(small / 16.0f > 0.0f);
  }
  CHECK_FALSE(rounds_to_nearest());
  std::fesetround(FE_TONEAREST);
}

TEST_CASE("thread pool: idle workers use no CPU") {
  ThreadPool pool(4);
  ranges_of(pool, 4, 1);
  const std::clock_t before = std::clock();
  const auto start = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const std::chrono::duration<double> interval = std::chrono::steady_clock::now() - start;
  const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  CHECK(used < 0.05 * interval.count());  // one waiting in a loop would use all of it
}

TEST_CASE("thread pool: a process held to one CPU does all the parts in the calling thread") {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang must not outlive the test
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) _exit(2);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &one);
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0 || usable_cpus() != 1) _exit(3);
    ThreadPool pool(4);
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> parts{0};
    std::atomic<bool> elsewhere{false};
    pool.parallel_for(4, 1, [&](int64_t, int64_t, int) {
      ++parts;
      if (std::this_thread::get_id() != caller) elsewhere = true;
    });
    _exit(parts == 4 && !elsewhere ? 0 : 4);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("thread pool: a forked child runs with threads of its own") {
  ThreadPool pool(2);
  REQUIRE(ranges_of(pool, 2, 1).size() == 2);  // the parent's workers exist

  // Fork from within a split, the worst moment: the pool is in use and its lock state unknown.
  pid_t child = -1;
  pool.parallel_for(2, 1, [&](int64_t, int64_t, int part) {
    if (part != 0) return;
    child = fork();
    if (child == 0) {
      alarm(20);  // a hang must not outlive the test
      const bool good = ranges_of(pool, 2, 1).size() == 2;
      _exit(good ? 0 : 1);
    }
  });
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(ranges_of(pool, 2, 1).size() == 2);

  // A child that destroys a pool whose threads it does not have.
  auto* doomed = new ThreadPool(2);
  ranges_of(*doomed, 2, 1);
  child = fork();
  if (child == 0) {
    alarm(20);
    delete doomed;
    _exit(0);
  }
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  delete doomed;
}

}  // namespace
}  // namespace zeropoint
