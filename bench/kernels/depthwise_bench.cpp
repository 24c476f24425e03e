// depthwise_s8 and depthwise_f32 on the depthwise convolutions of the networks.
#include <limits>

#include "bench_support.h"
#include "kernels/depthwise_f32/depthwise_f32.h"
#include "kernels/depthwise_s8/depthwise_s8.h"
#include "layer_shapes.h"

namespace zeropoint::bench {
namespace {

int taps(const Depthwise& layer) { return layer.kernel * layer.kernel; }

// What both precisions read and write.
template <typename T>
struct Images {
  explicit Images(const Depthwise& layer)
      : x(filled_with<T>(static_cast<size_t>(layer.side * layer.side * layer.channels))),
        pad_row(filled_with<T>(static_cast<size_t>(layer.channels))) {
    const Window window = square_window(layer.kernel, layer.stride);
    const int64_t side = output_size(window, 0, layer.side);
    pixels = side * side;
    offsets = build_offsets(window, layer.side, layer.side, layer.channels);
    y = AlignedBuffer(static_cast<size_t>(pixels * layer.channels) * sizeof(T));
    rows.base = x.template as<T>();
    rows.offsets = offsets.data();
    rows.pad_row = pad_row.template as<T>();
    rows.taps = taps(layer);
    rows.depth = layer.channels;
    macs = static_cast<double>(pixels) * rows.taps * rows.depth;
  }

  AlignedBuffer x, pad_row, y;
  std::vector<int32_t> offsets;
  int64_t pixels = 0;
  double macs = 0.0;
  Rows<T> rows;
};

void run_s8(benchmark::State& state, const depthwise_s8::Kernel& kernel, const Depthwise& layer) {
  Images<act_t> images(layer);
  const auto channels = static_cast<size_t>(layer.channels);
  const AlignedBuffer weights = filled(channels * static_cast<size_t>(taps(layer)));
  const std::vector<int32_t> bias(channels, 100);
  const std::vector<float> multiplier(channels, 1e-3f);
  AlignedBuffer packed(kernel.packed_bytes(taps(layer), layer.channels));
  kernel.pack({weights.as<int8_t>(), bias.data(), multiplier.data(), taps(layer), layer.channels},
              packed.data());

  depthwise_s8::RunArgs run;
  run.x = images.rows;
  // Squares run over the geometry; padding is a whole row there.
  const Window window = square_window(layer.kernel, layer.stride);
  const AlignedBuffer pad_row = filled(static_cast<size_t>(layer.side * layer.channels));
  depthwise_s8::Grid grid;
  grid.height = grid.width = layer.side;
  grid.out_width = static_cast<int>(output_size(window, 0, layer.side));
  grid.pad_top = grid.pad_left = layer.kernel / 2;
  if (kernel.takes_grid) {
    run.grid = &grid;
    run.x.pad_row = pad_row.as<act_t>();
  }
  run.packed = packed.data();
  run.y = images.y.as<act_t>();
  run.y_stride = layer.channels;
  run.pixel_end = images.pixels;
  const double seconds = time_loop(state, [&] { kernel.run(run); });
  report_macs(state, seconds, images.macs, kernel.isa, true);
}

void run_f32(benchmark::State& state, const depthwise_f32::Kernel& kernel, const Depthwise& layer) {
  Images<float> images(layer);
  const auto channels = static_cast<size_t>(layer.channels);
  const AlignedBuffer weights = filled_floats(channels * static_cast<size_t>(taps(layer)));
  const AlignedBuffer bias = filled_floats(channels);

  depthwise_f32::RunArgs run;
  run.x = images.rows;
  run.weights = weights.as<float>();
  run.bias = bias.as<float>();
  run.y = images.y.as<float>();
  run.y_stride = layer.channels;
  run.lo = -std::numeric_limits<float>::infinity();
  run.hi = std::numeric_limits<float>::infinity();
  run.pixel_end = images.pixels;
  const double seconds = time_loop(state, [&] { kernel.run(run); });
  report_macs(state, seconds, images.macs, kernel.isa, false);
}

std::string shape_name(const Depthwise& layer) {
  const std::string side = std::to_string(layer.side), kernel = std::to_string(layer.kernel);
  return kernel + "x" + kernel + "_s" + std::to_string(layer.stride) + "_" + side + "x" + side +
         "x" + std::to_string(layer.channels);
}

const bool kRegistered = [] {
  for (const depthwise_s8::Kernel& kernel : depthwise_s8::kernels()) {
    if (!detected(kernel.isa)) continue;
    for (const Depthwise& layer : kDepthwiseLayers) {
      const depthwise_s8::Problem problem{taps(layer), layer.channels, layer.kernel, layer.stride};
      if (kernel.applies != nullptr && !kernel.applies(problem)) continue;
      add(kernel.name, layer.networks, shape_name(layer),
          [&kernel, &layer](benchmark::State& state) { run_s8(state, kernel, layer); });
    }
  }
  for (const depthwise_f32::Kernel& kernel : depthwise_f32::kernels()) {
    if (!detected(kernel.isa)) continue;
    for (const Depthwise& layer : kDepthwiseLayers) {
      add(kernel.name, layer.networks, shape_name(layer),
          [&kernel, &layer](benchmark::State& state) { run_f32(state, kernel, layer); });
    }
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
