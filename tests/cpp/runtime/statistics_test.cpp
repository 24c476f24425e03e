#include "runtime/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support.h"

namespace zeropoint {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_values(int64_t n, std::mt19937_64& g) {
  std::normal_distribution<float> normal(0.5f, 3.0f);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(g);
  return x;
}

TEST_CASE("min_max: against the standard library at every length") {
  INFO(test::seed_note());
  auto g = test::generator("min_max");
  for (int64_t n = 1; n < 100; ++n) {
    const std::vector<float> x = random_values(n, g);
    float lo = 0.0f;
    float hi = 0.0f;
    REQUIRE(min_max(x.data(), n, &lo, &hi));
    CHECK(lo == *std::min_element(x.begin(), x.end()));
    CHECK(hi == *std::max_element(x.begin(), x.end()));
  }
}

TEST_CASE("min_max: finds what is not finite, wherever it is") {
  INFO(test::seed_note());
  auto g = test::generator("min_max, not finite");
  for (const int64_t n : {1, 15, 16, 17, 40}) {
    for (const float bad : {kNan, kInf, -kInf}) {
      for (int64_t at = 0; at < n; ++at) {
        std::vector<float> x = random_values(n, g);
        x[static_cast<size_t>(at)] = bad;
        float lo = 0.0f;
        float hi = 0.0f;
        CHECK_FALSE(min_max(x.data(), n, &lo, &hi));
      }
    }
  }
  float lo = 1.0f;
  float hi = 1.0f;
  const float zeros[2] = {-0.0f, 0.0f};
  REQUIRE(min_max(zeros, 2, &lo, &hi));
  CHECK_FALSE(std::signbit(lo));
  const float extremes[2] = {std::numeric_limits<float>::max(),
                             std::numeric_limits<float>::lowest()};
  CHECK(min_max(extremes, 2, &lo, &hi));  // no false alarm by overflow
}

TEST_CASE("histogram: counts as the formula says, and adds to what is there") {
  INFO(test::seed_note());
  auto g = test::generator("histogram");
  for (const int64_t bins : {1, 2, 7, 2048}) {
    for (const int64_t n : {1, 3, 4, 1023, 1024, 1025, 5000}) {
      std::vector<float> x = random_values(n, g);
      x[0] = 1e30f;
      x.back() = -1e30f;
      const float lo = -4.0f;
      const float width = 9.0f / static_cast<float>(bins);
      std::vector<int64_t> counts(static_cast<size_t>(bins), 5);
      std::vector<int64_t> expected = counts;
      for (const float v : x) {
        const float bin = std::floor((v - lo) / width);
        const float clamped = std::min(std::max(bin, 0.0f), static_cast<float>(bins - 1));
        ++expected[static_cast<size_t>(clamped)];
      }
      histogram(x.data(), n, lo, width, bins, counts.data());
      CHECK(counts == expected);
    }
  }
  std::vector<int64_t> counts(3);
  const float odd[3] = {kNan, kInf, -kInf};
  histogram(odd, 3, 0.0f, 1.0f, 3, counts.data());
  CHECK(counts == std::vector<int64_t>{2, 0, 1});
}

}  // namespace
}  // namespace zeropoint
