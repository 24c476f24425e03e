// pool_s8 and pool_f32 on the maximum pools and global means of the networks.
#include "bench_support.h"
#include "kernels/pool_f32/pool_f32.h"
#include "kernels/pool_s8/pool_s8.h"
#include "layer_shapes.h"

namespace zeropoint::bench {
namespace {

struct Pool {
  Window window;
  int side, channels;
  bool is_max;
};

Pool max_pool(const MaxPool& layer) {
  return {square_window(layer.kernel, layer.stride), layer.side, layer.channels, true};
}

Pool global_mean(const GlobalMean& layer) {
  Window window;
  window.kernel = {layer.side, layer.side};
  return {window, layer.side, layer.channels, false};
}

// Args is pool_s8::RunArgs or pool_f32::RunArgs; `prepare` sets what only one of them has.
template <typename T, typename Args, typename Prepare>
void run_pool(benchmark::State& state, void (*kernel)(const Args&), const Pool& pool,
              const Prepare& prepare) {
  const auto channels = static_cast<size_t>(pool.channels);
  const size_t inputs = channels * static_cast<size_t>(pool.side * pool.side);
  const int64_t side = output_size(pool.window, 0, pool.side);
  const auto outputs = static_cast<size_t>(side * side) * channels;
  const AlignedBuffer x = filled_with<T>(inputs), pad_row = filled_with<T>(channels);
  AlignedBuffer y(outputs * sizeof(T));
  const std::vector<int32_t> offsets =
      build_offsets(pool.window, pool.side, pool.side, pool.channels);
  const std::vector<float> multiplier(static_cast<size_t>(side * side),
                                      1.0f / static_cast<float>(pool.window.taps()));
  Args run;
  run.x.base = x.as<T>();
  run.x.offsets = offsets.data();
  run.x.pad_row = pad_row.as<T>();
  run.x.taps = static_cast<int>(pool.window.taps());
  run.x.depth = pool.channels;
  run.y = y.as<T>();
  run.y_stride = pool.channels;
  run.multiplier = multiplier.data();
  run.pixel_end = side * side;
  prepare(run);
  const double seconds = time_loop(state, [&] { kernel(run); });
  report_bytes(state, seconds, static_cast<double>(inputs), (inputs + outputs) * sizeof(T));
}

std::string shape_name(const Pool& pool) {
  const std::string side = std::to_string(pool.side);
  return (pool.is_max ? "max_" : "global_mean_") + side + "x" + side + "x" +
         std::to_string(pool.channels);
}

template <typename T, typename Kernel, typename Prepare>
void register_family(const Kernel& kernel, const Prepare& prepare) {
  const auto add_pool = [&](const Pool& pool, const char* networks) {
    add(kernel.name, networks, shape_name(pool), [&kernel, pool, prepare](benchmark::State& state) {
      run_pool<T>(state, pool.is_max ? kernel.max : kernel.mean, pool, prepare);
    });
  };
  for (const MaxPool& layer : kMaxPoolLayers) add_pool(max_pool(layer), layer.networks);
  for (const GlobalMean& layer : kGlobalMeanLayers) add_pool(global_mean(layer), layer.networks);
}

const bool kRegistered = [] {
  for (const pool_s8::Kernel& kernel : pool_s8::kernels()) {
    if (!detected(kernel.isa)) continue;
    register_family<act_t>(kernel, [](pool_s8::RunArgs& run) { run.zero_point = kActOffset; });
  }
  for (const pool_f32::Kernel& kernel : pool_f32::kernels()) {
    if (!detected(kernel.isa)) continue;
    register_family<float>(kernel, [](pool_f32::RunArgs&) {});
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
