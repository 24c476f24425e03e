// accumulator_s32 on what an encoder's products need: the linear layers with dynamic quantization
// (range of the input, correction, conversion) and the attention of each head.
#include "kernels/accumulator_s32/accumulator_s32.h"

#include "bench_support.h"
#include "layer_shapes.h"

namespace zeropoint::bench {
namespace {

using accumulator_s32::Correction;
using accumulator_s32::Kernel;

enum class Output { accumulators, activations, floats };

constexpr const char* output_name(Output output) {
  return output == Output::accumulators  ? "correct"
         : output == Output::activations ? "requantize"
                                         : "dequantize";
}

// All rows of a product [m, n], each with zero points on both sides.
void run_rows(benchmark::State& state, const Kernel& kernel, Output output, int64_t m, int n) {
  const auto columns = static_cast<size_t>(n), elements = static_cast<size_t>(m) * columns;
  const AlignedBuffer raw = filled(elements * sizeof(int32_t));
  const AlignedBuffer column_sums = filled(columns * sizeof(int32_t));
  const AlignedBuffer zero_b = filled(columns * sizeof(int32_t));
  const AlignedBuffer scale_b = filled_floats(columns), bias = filled_floats(columns);
  AlignedBuffer y(elements * sizeof(float));
  Correction row;
  row.zero_a = 3;
  row.column_sums = column_sums.as<int32_t>();
  row.row = 5;
  row.zero_b = zero_b.as<int32_t>();
  row.n = n;
  const double seconds = time_loop(state, [&] {
    for (size_t at = 0; at < elements; at += columns) {
      row.raw = raw.as<int32_t>() + at;
      if (output == Output::accumulators) {
        kernel.correct(row, y.as<int32_t>() + at);
      } else if (output == Output::activations) {
        kernel.requantize({row, 1e-9f, OutputClamp{}, y.as<act_t>() + at});
      } else {
        kernel.dequantize({row, 0.01f, scale_b.as<float>(), bias.as<float>(), y.as<float>() + at});
      }
    }
  });
  const size_t written = output == Output::activations ? sizeof(act_t) : sizeof(float);
  report_bytes(state, seconds, static_cast<double>(elements),
               elements * (sizeof(int32_t) + written));
}

void run_range(benchmark::State& state, const Kernel& kernel, int64_t elements) {
  const auto n = static_cast<size_t>(elements);
  const AlignedBuffer x = filled_floats(n);
  const double seconds =
      time_loop(state, [&] { benchmark::DoNotOptimize(kernel.range(x.as<float>(), elements)); });
  report_bytes(state, seconds, static_cast<double>(n), n * sizeof(float));
}

template <typename T>
void run_sum(benchmark::State& state, int32_t (*kernel)(const T*, int64_t), int64_t elements) {
  const AlignedBuffer x = filled(static_cast<size_t>(elements));
  const double seconds =
      time_loop(state, [&] { benchmark::DoNotOptimize(kernel(x.as<T>(), elements)); });
  report_bytes(state, seconds, static_cast<double>(elements), static_cast<size_t>(elements));
}

void run_transpose(benchmark::State& state, const Kernel& kernel, int k, int n) {
  const size_t elements = static_cast<size_t>(k) * static_cast<size_t>(n);
  const AlignedBuffer x = filled(elements);
  AlignedBuffer y(elements);
  const double seconds =
      time_loop(state, [&] { kernel.transpose(x.as<act_t>(), n, k, n, y.as<int8_t>()); });
  report_bytes(state, seconds, static_cast<double>(elements), 2 * elements);
}

std::string by(const std::string& function, int64_t rows, int64_t columns) {
  return function + "_" + std::to_string(rows) + "x" + std::to_string(columns);
}

constexpr const char* kEncoder = "minilm_encoder_128";
constexpr int kTokens = 128, kHeadDepth = 32;

void register_kernel(const Kernel& kernel) {
  for (const Linear& layer : kLinearLayers) {
    if (std::strstr(layer.networks, kEncoder) == nullptr) continue;
    for (Output output : {Output::accumulators, Output::activations, Output::floats}) {
      add(kernel.name, layer.networks, by(output_name(output), layer.m, layer.n),
          [&kernel, &layer, output](benchmark::State& state) {
            run_rows(state, kernel, output, layer.m, layer.n);
          });
    }
    add(kernel.name, layer.networks, by("range", layer.m, layer.k),
        [&](benchmark::State& state) { run_range(state, kernel, layer.m * layer.k); });
    add(kernel.name, layer.networks, by("sum_activations", 1, layer.k),
        [&](benchmark::State& state) { run_sum(state, kernel.sum_activations, layer.k); });
    add(kernel.name, layer.networks, by("sum_weights", 1, layer.k),
        [&](benchmark::State& state) { run_sum(state, kernel.sum_weights, layer.k); });
  }
  add(kernel.name, kEncoder, by("transpose", kTokens, kHeadDepth),
      [&](benchmark::State& state) { run_transpose(state, kernel, kTokens, kHeadDepth); });
}

const bool kRegistered = [] {
  for (const Kernel& kernel : accumulator_s32::kernels()) {
    if (detected(kernel.isa)) register_kernel(kernel);
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
