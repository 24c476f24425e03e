#include "base/checksum.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

using namespace zeropoint;

TEST_CASE("weighted_words is the sum of 64-bit words times 2 i + 1, at every length") {
  std::mt19937_64 g(7);
  std::vector<unsigned char> bytes(1000);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(g());
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; begin + size <= bytes.size(); ++size) {
      uint64_t expected = 0;
      for (size_t i = 0; i < size; ++i) {
        expected += (uint64_t{bytes[begin + i]} << (8 * (i % 8))) * (2 * (i / 8) + 1);
      }
      REQUIRE(weighted_words(bytes.data() + begin, size) == expected);
    }
  }
}

TEST_CASE("weighted_words notices every flipped bit and exchanged words") {
  std::vector<unsigned char> bytes(260);
  std::mt19937_64 g(8);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(g());
  const uint64_t before = weighted_words(bytes.data(), bytes.size());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
    CHECK(weighted_words(bytes.data(), bytes.size()) != before);
    bytes[bit / 8] ^= static_cast<unsigned char>(1u << bit % 8);
  }
  for (size_t i = 0; i < 8; ++i) std::swap(bytes[i], bytes[64 + i]);
  CHECK(weighted_words(bytes.data(), bytes.size()) != before);
}
