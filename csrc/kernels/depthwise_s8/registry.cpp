#include <vector>

#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/join.h"

namespace zeropoint::depthwise_s8 {

KernelSpan<Kernel> kernels() {
  static const std::vector<Kernel> all = join<Kernel>({
#if defined(__x86_64__)
      x86_avx512vnni_kernels(),
      has_vex_vnni() ? x86_avxvnni_kernels() : x86_avxvnni_evex_kernels(),
      x86_avx2_kernels(),
#elif defined(__aarch64__)
      arm_dotprod_kernels(),
      arm_neon_kernels(),
#endif
      portable_kernels(),
  });
  return {all.data(), all.size()};
}

const Kernel& select(const Problem& problem, IsaMask mask) {
  return first_allowed(kernels(), mask, [&](const Kernel& kernel) {
    return kernel.applies == nullptr || kernel.applies(problem);
  });
}

}  // namespace zeropoint::depthwise_s8
