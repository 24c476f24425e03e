// elementwise_s8: additions and multiplications of the networks, tables in place of their
// activation functions, and the conversions of their inputs and outputs.
#include "kernels/elementwise_s8/elementwise_s8.h"

#include "bench_support.h"
#include "layer_shapes.h"

namespace zeropoint::bench {
namespace {

using elementwise_s8::Kernel;

void run_binary(benchmark::State& state, void (*kernel)(const elementwise_s8::BinaryArgs&),
                const Binary& layer) {
  const auto columns = static_cast<size_t>(layer.columns);
  const size_t n = static_cast<size_t>(layer.rows) * columns;
  const size_t second = layer.rows == 1 ? n : columns;
  const AlignedBuffer a = filled(n), b = filled(second);
  AlignedBuffer y(n);
  elementwise_s8::BinaryArgs run;
  run.b = b.as<act_t>();
  run.n = layer.columns;
  run.zero_a = run.zero_b = kActOffset;
  run.multiplier_a = run.multiplier_b = 0.01f;
  const double seconds = time_loop(state, [&] {
    for (size_t row = 0; row < n; row += columns) {
      run.a = a.as<act_t>() + row;
      run.y = y.as<act_t>() + row;
      kernel(run);
    }
  });
  report_bytes(state, seconds, static_cast<double>(n), 2 * n + second);
}

void run_lookup(benchmark::State& state, const Kernel& kernel, int elements) {
  const auto n = static_cast<size_t>(elements);
  const AlignedBuffer x = filled(n), table = filled(256);
  AlignedBuffer y(n);
  const elementwise_s8::LookupArgs run{x.as<act_t>(), table.as<act_t>(), y.as<act_t>(), elements};
  const double seconds = time_loop(state, [&] { kernel.lookup(run); });
  report_bytes(state, seconds, elements, 2 * n);
}

constexpr int kImage = 224 * 224 * 3;  // the networks' input

void run_quantize(benchmark::State& state, const Kernel& kernel) {
  const AlignedBuffer x = filled_floats(kImage);
  AlignedBuffer y(kImage);
  elementwise_s8::QuantizeArgs run;
  run.x = x.as<float>();
  run.y = y.as<act_t>();
  run.n = kImage;
  run.scale = 0.01f;
  const double seconds = time_loop(state, [&] { kernel.quantize(run); });
  report_bytes(state, seconds, kImage, 5 * size_t{kImage});
}

void run_dequantize(benchmark::State& state, const Kernel& kernel) {
  const AlignedBuffer x = filled(kImage);
  AlignedBuffer y(kImage * sizeof(float));
  elementwise_s8::DequantizeArgs run;
  run.x = x.as<act_t>();
  run.y = y.as<float>();
  run.n = kImage;
  run.params.scale = 0.01f;
  const double seconds = time_loop(state, [&] { kernel.dequantize(run); });
  report_bytes(state, seconds, kImage, 5 * size_t{kImage});
}

void register_kernel(const Kernel& kernel) {
  for (const Binary& layer : kBinaryLayers) {
    const auto function = layer.function[0] == 'a' ? kernel.add : kernel.mul;
    add(kernel.name, layer.networks,
        std::string(layer.function) + "_" + std::to_string(layer.rows) + "x" +
            std::to_string(layer.columns),
        [function, &layer](benchmark::State& state) { run_binary(state, function, layer); });
  }
  for (const Unary& layer : kUnaryLayers) {
    add(kernel.name, layer.networks,
        std::string("lookup_") + layer.function + "_" + std::to_string(layer.elements),
        [&](benchmark::State& state) { run_lookup(state, kernel, layer.elements); });
  }
  add(kernel.name, "input", "quantize_" + std::to_string(kImage),
      [&](benchmark::State& state) { run_quantize(state, kernel); });
  add(kernel.name, "input", "dequantize_" + std::to_string(kImage),
      [&](benchmark::State& state) { run_dequantize(state, kernel); });
}

const bool kRegistered = [] {
  for (const Kernel& kernel : elementwise_s8::kernels()) {
    if (detected(kernel.isa)) register_kernel(kernel);
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
