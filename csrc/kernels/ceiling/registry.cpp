#include <chrono>
#include <vector>

#include "kernels/ceiling/ceiling_kernels.h"
#include "kernels/join.h"

namespace zeropoint::ceiling {
namespace {

struct Timing {
  double seconds;
  int64_t macs;
};

Timing time_once(const Kernel& kernel, int64_t iterations) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t macs = kernel.run(iterations);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {elapsed.count(), macs};
}

}  // namespace

KernelSpan<Kernel> kernels() {
  static const std::vector<Kernel> all = join<Kernel>({
#if defined(__x86_64__)
      x86_avx512vnni_kernels(),
      has_vex_vnni() ? x86_avxvnni_kernels() : x86_avxvnni_evex_kernels(),
      x86_avx2_kernels(),
#elif defined(__aarch64__)
      arm_i8mm_kernels(),
      arm_dotprod_kernels(),
      arm_neon_kernels(),
#endif
      portable_kernels(),
  });
  return {all.data(), all.size()};
}

const Kernel& select(bool integer, IsaMask mask) {
  return first_allowed(kernels(), mask,
                       [integer](const Kernel& kernel) { return kernel.integer == integer; });
}

double measure(const Kernel& kernel) {
  constexpr double kSeconds = 0.005;  // one timing: long against the clock, short against a burst
  constexpr int kTimings = 5;
  int64_t iterations = 256;
  Timing timing = time_once(kernel, iterations);  // warms up as well
  while (timing.seconds < kSeconds / 2) {
    iterations *= 2;
    timing = time_once(kernel, iterations);
  }
  double best = 0.0;
  for (int i = 0; i < kTimings; ++i) {
    timing = time_once(kernel, iterations);
    const double speed = static_cast<double>(timing.macs) / timing.seconds;
    if (speed > best) best = speed;
  }
  return best;
}

}  // namespace zeropoint::ceiling
