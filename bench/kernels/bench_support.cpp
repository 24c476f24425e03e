#include "bench_support.h"

#include <algorithm>
#include <random>

#include "kernels/ceiling/ceiling.h"

namespace zeropoint::bench {

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

void report_macs(benchmark::State& state, const Stopwatch& watch, double macs_per_iteration,
                 Isa isa, bool integer) {
  const double seconds = watch.seconds();
  const double speed = macs_per_iteration * static_cast<double>(state.iterations()) / seconds;
  // Measured anew each time: clocks change, and a share means something only against a
  // neighbouring measurement.
  const double ceiling = ceiling::measure(ceiling::select(integer, isa_mask(isa)));
  state.counters["GMAC/s"] = speed / 1e9;
  state.counters["share_of_ceiling"] = speed / ceiling;
}

}  // namespace zeropoint::bench

BENCHMARK_MAIN();
