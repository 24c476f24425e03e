// What the C++ tests share: a printed seed, random fills, kernels that run here, and a count of the
// ISA levels exercised.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::test {

// ZEROPOINT_TEST_SEED repeats a failing run; otherwise the seed is new each time. It is printed
// with every failure (use INFO(seed_note())).
inline uint64_t seed() {
  static const uint64_t value = [] {
    const char* env = std::getenv("ZEROPOINT_TEST_SEED");
    return env ? std::strtoull(env, nullptr, 10) : uint64_t{std::random_device{}()};
  }();
  return value;
}
inline std::string seed_note() {
  return "repeat with ZEROPOINT_TEST_SEED=" + std::to_string(seed());
}

// A generator of its own for each test, so that tests stay independent of their order.
inline std::mt19937_64 generator(const char* test_name) {
  std::seed_seq seq{static_cast<uint64_t>(seed()),
                    static_cast<uint64_t>(std::hash<std::string>{}(test_name))};
  return std::mt19937_64(seq);
}

inline int64_t uniform(std::mt19937_64& g, int64_t lo, int64_t hi) {
  return std::uniform_int_distribution<int64_t>(lo, hi)(g);
}

// A buffer with the slack that kernels may read past its end.
template <typename T>
class Buffer {
 public:
  explicit Buffer(size_t n, T fill = T{}) : buffer_(n * sizeof(T)), n_(n) {
    for (size_t i = 0; i < n; ++i) data()[i] = fill;
  }
  T* data() { return buffer_.as<T>(); }
  const T* data() const { return buffer_.as<T>(); }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  size_t size() const { return n_; }

 private:
  AlignedBuffer buffer_;
  size_t n_;
};

template <typename T>
void fill_random(Buffer<T>& b, std::mt19937_64& g, int64_t lo, int64_t hi) {
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<T>(uniform(g, lo, hi));
}

inline bool runs_here(Isa isa) {
  for (Isa level : detected_isa_levels()) {
    if (level == isa) return true;
  }
  return false;
}

// The kernels of a family that this CPU can run.
template <typename Kernel>
std::vector<Kernel> runnable(const KernelSpan<Kernel>& kernels) {
  std::vector<Kernel> found;
  for (const Kernel& kernel : kernels) {
    if (runs_here(kernel.isa)) found.push_back(kernel);
  }
  return found;
}

inline OutputClamp random_clamp(std::mt19937_64& g) {
  OutputClamp clamp;
  clamp.zero_point = static_cast<int32_t>(uniform(g, kActMin, kActMax));
  clamp.qmin = static_cast<int32_t>(uniform(g, kActMin, kActMax));
  clamp.qmax = static_cast<int32_t>(uniform(g, clamp.qmin, kActMax));
  return clamp;
}

// Levels that add int8 dot products and nothing else: most families have no kernels of their own
// there, and run those of the levels below.
inline std::set<Isa> dot_product_levels() { return {Isa::avxvnni, Isa::dotprod, Isa::i8mm}; }

// Fails unless kernels of every ISA level that this CPU has were exercised, but for levels where
// the family has none; of these none may have been, so that no list of exceptions outlives its
// reason.
inline void require_all_levels(const char* family, const std::set<Isa>& exercised,
                               const std::set<Isa>& without_kernels = dot_product_levels()) {
  for (Isa level : detected_isa_levels()) {
    INFO("family " << std::string(family) << ", ISA level " << std::string(isa_name(level)));
    CHECK(exercised.count(level) == (without_kernels.count(level) == 0 ? 1 : 0));
  }
}

}  // namespace zeropoint::test
