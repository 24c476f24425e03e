// elementwise_f32: additions, multiplications, activation functions and softmax of the networks.
#include "kernels/elementwise_f32/elementwise_f32.h"

#include <limits>

#include "bench_support.h"
#include "layer_shapes.h"

namespace zeropoint::bench {
namespace {

using elementwise_f32::Kernel;

void run_binary(benchmark::State& state, const Kernel& kernel, const Binary& layer) {
  const auto columns = static_cast<size_t>(layer.columns);
  const size_t n = static_cast<size_t>(layer.rows) * columns;
  const size_t second = layer.rows == 1 ? n : columns;
  const AlignedBuffer a = filled_floats(n), b = filled_floats(second);
  AlignedBuffer y(n * sizeof(float));
  const auto function =
      layer.function[0] == 'a' ? elementwise_f32::Binary::add : elementwise_f32::Binary::mul;
  elementwise_f32::BinaryArgs run;
  run.b = b.as<float>();
  run.n = layer.columns;
  run.lo = -std::numeric_limits<float>::infinity();
  run.hi = std::numeric_limits<float>::infinity();
  const double seconds = time_loop(state, [&] {
    for (size_t row = 0; row < n; row += columns) {
      run.a = a.as<float>() + row;
      run.y = y.as<float>() + row;
      kernel.binary(function, run);
    }
  });
  report_bytes(state, seconds, static_cast<double>(n), (2 * n + second) * sizeof(float));
}

void run_unary(benchmark::State& state, const Kernel& kernel, const Unary& layer) {
  const auto n = static_cast<size_t>(layer.elements);
  const std::string name = layer.function;
  const AlignedBuffer x = filled_floats(n);
  AlignedBuffer y(n * sizeof(float));
  elementwise_f32::UnaryArgs run;
  run.function = name == "gelu"           ? elementwise_f32::Unary::gelu
                 : name == "hard_sigmoid" ? elementwise_f32::Unary::hard_sigmoid
                                          : elementwise_f32::Unary::hard_swish;
  run.alpha = 1.0f / 6.0f;
  run.beta = 0.5f;
  run.x = x.as<float>();
  run.y = y.as<float>();
  run.n = layer.elements;
  const double seconds = time_loop(state, [&] { kernel.unary(run); });
  report_bytes(state, seconds, layer.elements, 2 * n * sizeof(float));
}

void run_softmax(benchmark::State& state, const Kernel& kernel, const Softmax& layer) {
  const auto columns = static_cast<size_t>(layer.columns);
  const size_t n = static_cast<size_t>(layer.rows) * columns;
  const AlignedBuffer x = filled_floats(n);
  AlignedBuffer y(n * sizeof(float));
  const double seconds = time_loop(state, [&] {
    for (size_t row = 0; row < n; row += columns) {
      kernel.softmax({x.as<float>() + row, y.as<float>() + row, layer.columns});
    }
  });
  report_bytes(state, seconds, static_cast<double>(n), 2 * n * sizeof(float));
}

void register_kernel(const Kernel& kernel) {
  for (const Binary& layer : kBinaryLayers) {
    add(kernel.name, layer.networks,
        std::string(layer.function) + "_" + std::to_string(layer.rows) + "x" +
            std::to_string(layer.columns),
        [&](benchmark::State& state) { run_binary(state, kernel, layer); });
  }
  for (const Unary& layer : kUnaryLayers) {
    add(kernel.name, layer.networks,
        std::string(layer.function) + "_" + std::to_string(layer.elements),
        [&](benchmark::State& state) { run_unary(state, kernel, layer); });
  }
  for (const Softmax& layer : kSoftmaxLayers) {
    add(kernel.name, layer.networks,
        "softmax_" + std::to_string(layer.rows) + "x" + std::to_string(layer.columns),
        [&](benchmark::State& state) { run_softmax(state, kernel, layer); });
  }
}

const bool kRegistered = [] {
  for (const Kernel& kernel : elementwise_f32::kernels()) {
    if (detected(kernel.isa)) register_kernel(kernel);
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
