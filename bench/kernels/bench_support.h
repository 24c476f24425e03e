// What the kernel microbenchmarks share. A family's benchmark iterates its registry and registers
// one entry a kernel and shape; adding a kernel needs no line here.
#pragma once

#include <benchmark/benchmark.h>

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

// Adds the counters GMAC/s and share: of the ceiling of `isa` (its best integer or float32
// multiply-accumulate), which is measured in this process, next to the benchmark.
void report_macs(benchmark::State& state, double macs_per_iteration, Isa isa, bool integer);

}  // namespace zeropoint::bench
