#include <cmath>
#include <limits>
#include <vector>

#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/join.h"
#include "kernels/winograd_s8/winograd_s8_kernels.h"

namespace zeropoint::winograd_s8 {
namespace {

// Fewer channels leave most of a vector empty.
constexpr int kMinDepth = 8, kMinColumns = 8;
// A single tile of 4x4 is slower than four of 2x2.
constexpr double kMinLargeTiles = 2;
// In pixels of a direct convolution: what any one costs besides its tiles.
constexpr double kStart = 3.0;
// A direct convolution reads 9 bytes of weights for a channel of a column, these 2 for each
// product. Each byte more costs as much as a pixel where the weights do not stay in a core's own
// caches from one block of tiles to the next.
constexpr int64_t kMaxCachedBytes = int64_t{1} << 22;

// Where it is not known how large the images are.
constexpr double kUsualSide = 32;

double cost(const Kernel& kernel, const Problem& problem) {
  const bool known = problem.out_height > 0 && problem.out_width > 0;
  const double height = known ? static_cast<double>(problem.out_height) : kUsualSide;
  const double width = known ? static_cast<double>(problem.out_width) : kUsualSide;
  const double tiles = std::ceil(height / kernel.tile) * std::ceil(width / kernel.tile);
  const int64_t weight_bytes = 2 * (kernel.tile + 2) * (kernel.tile + 2);
  const bool cached = weight_bytes * problem.depth * problem.n <= kMaxCachedBytes;
  if (problem.magnitude > kernel.max_magnitude || (kernel.tile > 2 && tiles < kMinLargeTiles) ||
      (!known && !cached)) {
    return std::numeric_limits<double>::infinity();
  }
  const double pixels = tiles * kernel.cost.with(problem.depth) + kStart +
                        (cached ? 0.0 : static_cast<double>(weight_bytes - 9));
  return pixels / (height * width);
}

}  // namespace

KernelSpan<Kernel> kernels() {
  static const std::vector<Kernel> all = join<Kernel>({
#if defined(__x86_64__)
      x86_avx2_kernels(),
      has_vex_vnni() ? x86_avxvnni_kernels() : x86_avxvnni_evex_kernels(),
      x86_avx512vnni_kernels(),
#endif
  });
  return {all.data(), all.size()};
}

const Kernel* select(const Problem& problem, IsaMask mask) {
  if (problem.depth < kMinDepth || problem.n < kMinColumns) return nullptr;
  const Isa direct = gemm_s8::select({0, problem.n, 9, problem.depth}, mask).isa;
  const Kernel* best = nullptr;
  double least = 1;  // the direct one's
  for (const Kernel& kernel : kernels()) {
    if (kernel.isa != direct) continue;
    const double its = cost(kernel, problem);
    if (its >= least) continue;
    least = its;
    best = &kernel;
  }
  return best;
}

}  // namespace zeropoint::winograd_s8
