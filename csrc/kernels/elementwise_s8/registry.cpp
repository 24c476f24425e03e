#include <vector>

#include "kernels/elementwise_s8/elementwise_s8_kernels.h"
#include "kernels/join.h"

namespace zeropoint::elementwise_s8 {

KernelSpan<Kernel> kernels() {
  static const std::vector<Kernel> all = join<Kernel>({
#if defined(__x86_64__)
      x86_avx512vnni_kernels(),
      x86_avx2_kernels(),
#elif defined(__aarch64__)
      arm_neon_kernels(),
#endif
      portable_kernels(),
  });
  return {all.data(), all.size()};
}

const Kernel& select(IsaMask mask) {
  return first_allowed(kernels(), mask, [](const Kernel&) { return true; });
}

}  // namespace zeropoint::elementwise_s8
