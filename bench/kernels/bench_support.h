// What the kernel microbenchmarks share. A family's benchmark iterates its registry and registers
// one entry a kernel and layer; adding a kernel needs no line here.
#pragma once

#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "cpu/isa.h"
#include "kernels/indirection.h"
#include "ops/window.h"

namespace zeropoint::bench {

// Seconds that this thread has been on a CPU: what other programs take does not count.
double now();

// Does this CPU have the level?
bool detected(Isa isa);

// Buffers of pseudo-random contents, the same on every run: any byte, or floats of [-1, 1).
AlignedBuffer filled(size_t bytes);
AlignedBuffer filled_floats(size_t count);
template <typename T>
AlignedBuffer filled_with(size_t count) {
  return sizeof(T) == 1 ? filled(count) : filled_floats(count);
}

// A square window over a square image, padded by kernel / 2 as in the networks.
Window square_window(int kernel, int stride);

// Registers "<kernel>/<networks>/<shape>", in microseconds.
template <typename Body>
void add(const char* kernel, const char* networks, const std::string& shape, const Body& body) {
  const std::string name = std::string(kernel) + "/" + networks + "/" + shape;
  benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMicrosecond);
}

// Seconds that the loop of `state` took in all; runs `body` in it.
template <typename Body>
double time_loop(benchmark::State& state, const Body& body) {
  body();  // pages, caches and the clock's frequency
  const double begin = now();
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  return now() - begin;
}

// Call right after the loop. Counters GMAC/s and share_of_ceiling: of what the best integer (or
// float32) multiply-accumulate of `isa` reaches, measured at that moment.
void report_macs(benchmark::State& state, double seconds, double macs_per_iteration, Isa isa,
                 bool integer);

// The same for work without multiply-accumulates. Counters Gelem/s, GB/s (bytes read and written)
// and share_of_ceiling: of what memcpy moves through equally many bytes, measured at that moment.
void report_bytes(benchmark::State& state, double seconds, double elements_per_iteration,
                  size_t bytes_per_iteration);

}  // namespace zeropoint::bench
