#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/join.h"
#include "kernels/winograd_s8/winograd_s8_kernels.h"

namespace zeropoint::winograd_s8 {
namespace {

// Fewer channels leave most of a vector empty.
constexpr int kMinDepth = 8, kMinColumns = 8;

// In pixels of a direct convolution, as measured: what a tile costs, what any convolution costs
// besides, and what it costs to read the transformed weights (32 bytes each instead of 9) where
// they do not stay in a core's own cache from one block of tiles to the next.
constexpr double kTile = 2.6, kStart = 3.0, kWeights = 23.0;
constexpr int64_t kMaxCachedWeights = int64_t{1} << 17;

bool pays(const Problem& problem) {
  if (problem.depth < kMinDepth || problem.depth > kMaxDepth || problem.n < kMinColumns) {
    return false;
  }
  const bool cached = int64_t{problem.depth} * problem.n <= kMaxCachedWeights;
  if (problem.out_height <= 0 || problem.out_width <= 0) return cached;
  const auto height = static_cast<double>(problem.out_height);
  const auto width = static_cast<double>(problem.out_width);
  const double tiles = std::ceil(height / 2) * std::ceil(width / 2);
  return tiles * kTile + kStart + (cached ? 0.0 : kWeights) < height * width;
}

}  // namespace

KernelSpan<Kernel> kernels() {
  static const std::vector<Kernel> all = join<Kernel>({
#if defined(__x86_64__)
      x86_avx2_kernels(),
#endif
  });
  return {all.data(), all.size()};
}

const Kernel* select(const Problem& problem, IsaMask mask) {
  if (!pays(problem)) return nullptr;
  const Isa direct = gemm_s8::select({0, problem.n, 9, problem.depth}, mask).isa;
  const KernelSpan<Kernel> all = kernels();
  const Kernel* const found = std::find_if(
      all.begin(), all.end(), [&](const Kernel& kernel) { return kernel.isa == direct; });
  return found != all.end() ? found : nullptr;
}

}  // namespace zeropoint::winograd_s8
