// gemm_s8: every kernel of the registry that this CPU can run, on the products of the networks.
#include "kernels/gemm_s8/gemm_s8.h"

#include "bench_support.h"
#include "gemm_cases.h"

namespace zeropoint::bench {
namespace {

void run_gemm(benchmark::State& state, const gemm_s8::Kernel& kernel, const GemmCase& layer) {
  const auto n = static_cast<size_t>(layer.n), depth = static_cast<size_t>(layer.depth);
  const auto m = static_cast<size_t>(layer.m);
  const AlignedBuffer a = filled(static_cast<size_t>(layer.input_elements));
  const AlignedBuffer weights = filled(n * static_cast<size_t>(layer.k()));
  const AlignedBuffer pad_row = filled(depth);
  const std::vector<int32_t> bias(n, 100);
  const std::vector<float> multiplier(n, 1e-4f);
  AlignedBuffer c(m * n);

  gemm_s8::PackArgs pack;
  pack.weights = weights.as<int8_t>();
  pack.bias = bias.data();
  pack.multiplier = multiplier.data();
  pack.n = layer.n;
  pack.taps = layer.taps;
  pack.depth = layer.depth;
  pack.m = layer.m;
  AlignedBuffer packed(kernel.packed_bytes(layer.n, layer.taps, layer.depth));
  kernel.pack(pack, packed.data());
  AlignedBuffer scratch(kernel.scratch_bytes(layer.n, layer.taps, layer.depth));

  gemm_s8::RunArgs run;
  run.a.base = a.as<act_t>();
  run.a.stride = layer.depth;
  run.a.offsets = layer.offsets.empty() ? nullptr : layer.offsets.data();
  run.a.pad_row = pad_row.as<act_t>();
  run.a.taps = layer.taps;
  run.a.depth = layer.depth;
  run.packed = packed.data();
  run.n = layer.n;
  run.c = c.as<act_t>();
  run.c_stride = layer.n;
  run.m_end = layer.m;
  run.n_end = layer.n;
  run.scratch = scratch.data();
  const double seconds = time_loop(state, [&] { kernel.run(run); });
  report_macs(state, seconds, layer.macs(), kernel.isa, true);
}

const bool kRegistered = [] {
  for (const gemm_s8::Kernel& kernel : gemm_s8::kernels()) {
    if (!detected(kernel.isa)) continue;
    for (const GemmCase& layer : gemm_cases()) {
      const gemm_s8::Problem problem{layer.m, layer.n, layer.taps, layer.depth};
      if (kernel.applies != nullptr && !kernel.applies(problem)) continue;
      add(kernel.name, layer.networks.c_str(), layer.shape,
          [&kernel, &layer](benchmark::State& state) { run_gemm(state, kernel, layer); });
    }
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
