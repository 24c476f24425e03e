#include "bench_support.h"

#include <time.h>

#include <algorithm>
#include <random>

#include "kernels/ceiling/ceiling.h"

namespace zeropoint::bench {
namespace {

// Bytes a second, read and written, of copying one half of `bytes` to the other; the best of
// several timings, each long against the clock.
double measure_copy(size_t bytes) {
  const size_t half = std::max<size_t>(1, bytes / 2);
  AlignedBuffer from = filled(half), to(half);
  double best = 0.0;
  int64_t copies = 1;
  for (int timing = 0; timing < 5;) {
    const double begin = now();
    for (int64_t i = 0; i < copies; ++i) {
      std::memcpy(to.data(), from.data(), half);
      benchmark::ClobberMemory();
    }
    const double seconds = now() - begin;
    if (seconds < 1e-3) {
      copies *= 2;
      continue;
    }
    best = std::max(best, 2.0 * static_cast<double>(half) * static_cast<double>(copies) / seconds);
    ++timing;
  }
  return best;
}

}  // namespace

double now() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

bool detected(Isa isa) {
  const std::vector<Isa> levels = detected_isa_levels();
  return std::find(levels.begin(), levels.end(), isa) != levels.end();
}

AlignedBuffer filled(size_t bytes) {
  AlignedBuffer buffer(bytes);
  std::mt19937 generator(1);
  for (size_t i = 0; i < bytes; ++i) buffer.as<uint8_t>()[i] = static_cast<uint8_t>(generator());
  return buffer;
}

AlignedBuffer filled_floats(size_t count) {
  AlignedBuffer buffer(count * sizeof(float));
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> values(-1.0f, 1.0f);
  for (size_t i = 0; i < count; ++i) buffer.as<float>()[i] = values(generator);
  return buffer;
}

Window square_window(int kernel, int stride) {
  Window window;
  const int64_t pad = kernel / 2;
  window.kernel = {kernel, kernel};
  window.strides = {stride, stride};
  window.pads = {pad, pad, pad, pad};
  return window;
}

void report_macs(benchmark::State& state, double seconds, double macs_per_iteration, Isa isa,
                 bool integer) {
  const double speed = macs_per_iteration * static_cast<double>(state.iterations()) / seconds;
  // Measured anew each time: clocks change, and a share means something only against a
  // neighbouring measurement.
  const double ceiling = ceiling::measure(ceiling::select(integer, isa_mask(isa)));
  state.counters["GMAC/s"] = speed / 1e9;
  state.counters["share_of_ceiling"] = speed / ceiling;
}

void report_bytes(benchmark::State& state, double seconds, double elements_per_iteration,
                  size_t bytes_per_iteration) {
  const double runs_per_second = static_cast<double>(state.iterations()) / seconds;
  const double speed = static_cast<double>(bytes_per_iteration) * runs_per_second;
  state.counters["Gelem/s"] = elements_per_iteration * runs_per_second / 1e9;
  state.counters["GB/s"] = speed / 1e9;
  state.counters["share_of_ceiling"] = speed / measure_copy(bytes_per_iteration);
}

}  // namespace zeropoint::bench

BENCHMARK_MAIN();
