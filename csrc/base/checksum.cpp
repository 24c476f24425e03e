#include "base/checksum.h"

#include <cstring>

namespace zeropoint {

uint64_t weighted_words(const unsigned char* bytes, size_t size) {
  // Two lanes a vector of every processor, without a multiplication: over the blocks b of one lane,
  // the sum of b w[b] is (blocks) (sum of w) less the sum of all prefix sums.
  using Pair = uint64_t __attribute__((vector_size(16)));
  constexpr size_t kVectors = 4, kLanes = 2 * kVectors;
  const size_t blocks = size / (8 * kLanes);
  Pair sums[kVectors] = {}, prefixes[kVectors] = {};
  for (size_t b = 0; b < blocks; ++b, bytes += 8 * kLanes) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      Pair words;
      std::memcpy(&words, bytes + v * sizeof words, sizeof words);
      sums[v] += words;
      prefixes[v] += sums[v];
    }
  }
  uint64_t total = 0;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    const uint64_t sum = sums[lane / 2][lane % 2], prefix = prefixes[lane / 2][lane % 2];
    total += (2 * lane + 1) * sum + 2 * kLanes * (blocks * sum - prefix);
  }
  const size_t rest = size % (8 * kLanes);
  uint64_t weight = 2 * kLanes * blocks + 1, word = 0;
  for (size_t i = 0; i + 8 <= rest; i += 8, weight += 2) {
    std::memcpy(&word, bytes + i, 8);
    total += word * weight;
  }
  word = 0;
  std::memcpy(&word, bytes + rest / 8 * 8, rest % 8);
  return total + word * weight;
}

}  // namespace zeropoint
