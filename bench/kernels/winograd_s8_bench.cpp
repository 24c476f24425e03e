// winograd_s8 on the networks' convolutions of 3x3 with stride 1. Multiply-accumulates are those of
// the convolution's definition, so that figures stand beside those of gemm_s8: of the ceiling they
// may be more than all.
#include "kernels/winograd_s8/winograd_s8.h"

#include "bench_support.h"
#include "gemm_cases.h"

namespace zeropoint::bench {
namespace {

void run_winograd(benchmark::State& state, const winograd_s8::Kernel& kernel, const Conv& layer) {
  const auto n = static_cast<size_t>(layer.filters), depth = static_cast<size_t>(layer.channels);
  const auto pixels = static_cast<size_t>(layer.side) * static_cast<size_t>(layer.side);
  const AlignedBuffer x = filled(pixels * depth), pad = filled(depth);
  const AlignedBuffer weights = filled(n * 9 * depth);
  const std::vector<int32_t> bias(n, 100);
  const std::vector<float> multiplier(n, 1e-4f);
  AlignedBuffer c(pixels * n), packed(kernel.packed_bytes(layer.filters, layer.channels));
  AlignedBuffer scratch(kernel.scratch_bytes(layer.channels));

  winograd_s8::PackArgs pack;
  pack.weights = weights.as<int8_t>();
  pack.bias = bias.data();
  pack.multiplier = multiplier.data();
  pack.n = layer.filters;
  pack.depth = layer.channels;
  kernel.pack(pack, packed.data());

  winograd_s8::RunArgs run;
  run.x = x.as<act_t>();
  run.pad = pad.as<act_t>();
  run.image.height = run.image.width = layer.side;
  run.image.out_height = run.image.out_width = layer.side;
  run.image.pad_top = run.image.pad_left = 1;
  run.depth = layer.channels;
  run.packed = packed.data();
  run.n = layer.filters;
  run.c = c.as<act_t>();
  run.c_stride = layer.filters;
  run.tile_end = run.image.tiles(kernel.tile);
  run.scratch = scratch.data();
  const double seconds = time_loop(state, [&] { kernel.run(run); });
  report_macs(state, seconds, static_cast<double>(pixels * n * 9 * depth), kernel.isa, true);
}

const bool kRegistered = [] {
  for (const winograd_s8::Kernel& kernel : winograd_s8::kernels()) {
    if (!detected(kernel.isa)) continue;
    for (const Conv& layer : kConvLayers) {
      if (layer.kernel != 3 || layer.stride != 1 || 9 * 128 * layer.channels > kernel.max_magnitude)
        continue;
      add(kernel.name, layer.networks, conv_name(layer),
          [&kernel, &layer](benchmark::State& state) { run_winograd(state, kernel, layer); });
    }
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
