#include "base/page_arena.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/huge_pages.h"

using namespace zeropoint;

TEST_CASE("page arena: buffers are apart, aligned, zeroed and readable past their end") {
  for (const size_t expected : {size_t{0}, size_t{1000}, size_t{9} << 20}) {
    PageArena arena(expected);
    std::vector<std::pair<unsigned char*, size_t>> buffers;
    for (const size_t bytes : {size_t{0}, size_t{1}, size_t{64}, size_t{65}, size_t{70000},
                               size_t{3} << 20, size_t{5}, size_t{1} << 20}) {
      auto* data = static_cast<unsigned char*>(arena.allocate(bytes));
      CHECK(reinterpret_cast<uintptr_t>(data) % 64 == 0);
      CHECK(std::all_of(data, data + bytes + kOverreadBytes, [](int byte) { return byte == 0; }));
      buffers.emplace_back(data, bytes);
      auto* const shrunk = static_cast<unsigned char*>(arena.allocate(bytes));
      std::memset(shrunk, 77, bytes / 3);
      arena.shrink_last(shrunk, bytes / 3);
    }
    for (size_t b = 0; b < buffers.size(); ++b) {
      std::memset(buffers[b].first, static_cast<int>(b + 1), buffers[b].second);
    }
    for (size_t b = 0; b < buffers.size(); ++b) {
      const auto [data, bytes] = buffers[b];
      const auto value = static_cast<unsigned char>(b + 1);
      CHECK(std::count(data, data + bytes, value) == static_cast<std::ptrdiff_t>(bytes));
    }
  }
  CHECK_THROWS_AS(PageArena(0).allocate(SIZE_MAX), Error);
  CHECK_THROWS_AS(PageArena(0).allocate((size_t{1} << 40) + 1), Error);
}

TEST_CASE("aligned buffers of every size hold their bytes and the slack") {
  for (const size_t bytes : {size_t{1}, kHugePage / 2 - 64, kHugePage / 2, kHugePage - 1, kHugePage,
                             kHugePage + 1, 3 * kHugePage / 2 + 7, 5 * kHugePage}) {
    AlignedBuffer buffer(bytes);
    CHECK(buffer.size() == bytes);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0);
    std::memset(buffer.data(), 1, bytes + kOverreadBytes);
  }
  CHECK_THROWS_AS(AlignedBuffer(SIZE_MAX), Error);
  CHECK_THROWS_AS(AlignedBuffer(SIZE_MAX - 100), Error);
}
