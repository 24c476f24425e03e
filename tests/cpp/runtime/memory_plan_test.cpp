#include "runtime/memory_plan.h"

#include "base/checked_math.h"
#include "base/error.h"
#include "support.h"

namespace zeropoint {
namespace {

// Every pair that is alive together keeps its bytes, and the slack behind them, apart.
void check_valid(const std::vector<BufferRequest>& requests, const MemoryPlan& plan) {
  REQUIRE(plan.offsets.size() == requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const int64_t end_i =
        plan.offsets[i] + requests[i].bytes + static_cast<int64_t>(kOverreadBytes);
    CHECK(plan.offsets[i] >= 0);
    CHECK(plan.offsets[i] % kBufferAlignment == 0);
    CHECK(end_i <= plan.arena_bytes);
    for (size_t j = 0; j < i; ++j) {
      if (requests[i].last < requests[j].first || requests[j].last < requests[i].first) continue;
      const int64_t end_j =
          plan.offsets[j] + requests[j].bytes + static_cast<int64_t>(kOverreadBytes);
      CHECK((end_i <= plan.offsets[j] || end_j <= plan.offsets[i]));
    }
  }
}

TEST_CASE("memory plan: nothing, and one buffer") {
  CHECK(plan_memory({}).arena_bytes == 0);
  const MemoryPlan plan = plan_memory({{100, 0, 3}});
  CHECK(plan.offsets == std::vector<int64_t>{0});
  CHECK(plan.arena_bytes == 192);  // 100 + 64 of slack, on 64-byte steps
}

TEST_CASE("memory plan: a chain of equal buffers needs two") {
  std::vector<BufferRequest> requests;
  for (int i = 0; i < 50; ++i) requests.push_back({1024, i, i + 1});
  const MemoryPlan plan = plan_memory(requests);
  check_valid(requests, plan);
  CHECK(plan.arena_bytes == 2 * (1024 + 64));
}

TEST_CASE("memory plan: the smallest gap that fits is taken") {
  // Two fixed walls leave gaps of 1024 and 512 bytes at step 5; the last request fits both.
  const std::vector<BufferRequest> requests = {
      {4096 - 64, 0, 9},                     // the wall at 0
      {2048 - 64, 0, 1},                     // a hole of 2048 later
      {2000 - 64, 0, 9}, {1024 - 64, 0, 1},  // a hole of 1024 later
      {900 - 64, 0, 9},  {512 - 64, 5, 5},
  };
  const MemoryPlan plan = plan_memory(requests);
  check_valid(requests, plan);
  CHECK(plan.offsets[5] == plan.offsets[3]);
}

TEST_CASE("memory plan: random lifetimes never overlap, and a plan repeats") {
  INFO(test::seed_note());
  auto g = test::generator("memory plan");
  for (int repeat = 0; repeat < 60; ++repeat) {
    std::vector<BufferRequest> requests;
    const int64_t n = test::uniform(g, 1, 60);
    for (int64_t i = 0; i < n; ++i) {
      const auto first = static_cast<int>(test::uniform(g, -1, 40));
      requests.push_back(
          {test::uniform(g, 0, 5000), first, first + static_cast<int>(test::uniform(g, 0, 8))});
    }
    const MemoryPlan plan = plan_memory(requests);
    check_valid(requests, plan);
    CHECK(plan.offsets == plan_memory(requests).offsets);
  }
}

TEST_CASE("memory plan: absurd sizes are errors") {
  CHECK_THROWS_AS(plan_memory({{kMaxBytes, 0, 0}}), Error);
  CHECK_THROWS_AS(plan_memory({{kMaxBytes - 128, 0, 0}, {kMaxBytes - 128, 0, 0}}), Error);
}

}  // namespace
}  // namespace zeropoint
