// What the kernel microbenchmarks share. A family's benchmark iterates its registry and registers
// one entry a kernel and shape; adding a kernel needs no line here.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "cpu/isa.h"

namespace zeropoint::bench {

// Does this CPU have the level?
bool detected(Isa isa);

// A buffer of `bytes` pseudo-random bytes, the same on every run.
AlignedBuffer filled(size_t bytes);

// Started just before the benchmark loop.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Call right after the benchmark loop. Adds the counters GMAC/s and share_of_ceiling: of what the
// best integer (or float32) multiply-accumulate of `isa` reaches, measured at that moment.
void report_macs(benchmark::State& state, const Stopwatch& watch, double macs_per_iteration,
                 Isa isa, bool integer);

}  // namespace zeropoint::bench
