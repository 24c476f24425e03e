// gemm_f32: every kernel of the registry that this CPU can run, on the products of the networks.
#include "kernels/gemm_f32/gemm_f32.h"

#include <limits>

#include "bench_support.h"
#include "gemm_cases.h"

namespace zeropoint::bench {
namespace {

void run_gemm(benchmark::State& state, const gemm_f32::Kernel& kernel, const GemmCase& layer) {
  const auto n = static_cast<size_t>(layer.n), depth = static_cast<size_t>(layer.depth);
  const AlignedBuffer a = filled_floats(static_cast<size_t>(layer.input_elements));
  const AlignedBuffer weights = filled_floats(n * static_cast<size_t>(layer.k()));
  const AlignedBuffer pad_row = filled_floats(depth);
  AlignedBuffer c(static_cast<size_t>(layer.m) * n * sizeof(float));

  gemm_f32::PackArgs pack;
  pack.weights = weights.as<float>();
  pack.n_stride = static_cast<ptrdiff_t>(layer.k());
  pack.n = layer.n;
  pack.taps = layer.taps;
  pack.depth = layer.depth;
  AlignedBuffer packed(kernel.packed_bytes(layer.n, layer.taps, layer.depth));
  kernel.pack(pack, packed.data());

  gemm_f32::RunArgs run;
  run.a.base = a.as<float>();
  run.a.stride = layer.depth;
  run.a.offsets = layer.offsets.empty() ? nullptr : layer.offsets.data();
  run.a.pad_row = pad_row.as<float>();
  run.a.taps = layer.taps;
  run.a.depth = layer.depth;
  run.packed = packed.data();
  run.n = layer.n;
  run.c = c.as<float>();
  run.c_stride = layer.n;
  run.lo = -std::numeric_limits<float>::infinity();
  run.hi = std::numeric_limits<float>::infinity();
  run.m_end = layer.m;
  run.n_end = layer.n;
  const double seconds = time_loop(state, [&] { kernel.run(run); });
  report_macs(state, seconds, layer.macs(), kernel.isa, false);
}

const bool kRegistered = [] {
  for (const gemm_f32::Kernel& kernel : gemm_f32::kernels()) {
    if (!detected(kernel.isa)) continue;
    for (const GemmCase& layer : gemm_cases()) {
      const gemm_f32::Problem problem{layer.m, layer.n, layer.taps, layer.depth};
      if (kernel.applies != nullptr && !kernel.applies(problem)) continue;
      add(kernel.name, layer.networks.c_str(), layer.shape,
          [&kernel, &layer](benchmark::State& state) { run_gemm(state, kernel, layer); });
    }
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
