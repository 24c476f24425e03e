// gemm_s8: every kernel of the registry that this CPU can run, on shapes of real networks.
#include "bench_support.h"
#include "kernels/gemm_s8/gemm_s8.h"

namespace zeropoint::bench {
namespace {

struct GemmShape {
  const char* name;
  int64_t m;
  int n, taps, depth;
};

// Several taps: a convolution through an offset table (square kernel, stride 1, "same" padding).
constexpr GemmShape kShapes[] = {
    {"gemv", 1, 4096, 1, 4096},      {"gemv", 1, 1000, 1, 2048},
    {"gemv", 4, 4096, 1, 4096},      {"gemm", 128, 384, 1, 384},
    {"gemm", 128, 1536, 1, 384},     {"gemm", 128, 384, 1, 1536},
    {"gemm", 196, 1024, 1, 256},     {"gemm", 784, 128, 1, 1152},
    {"gemm", 3136, 64, 1, 576},      {"gemm", 49, 512, 1, 4608},
    {"gemm", 1024, 1024, 1, 1024},   {"gemm", 2048, 2048, 1, 2048},
    {"pointwise", 12544, 96, 1, 16}, {"pointwise", 3136, 96, 1, 16},
    {"pointwise", 3136, 64, 1, 16},  {"pointwise", 3136, 32, 1, 16},
    {"pointwise", 3136, 16, 1, 16},  {"pointwise", 12544, 16, 1, 96},
    {"pointwise", 3136, 24, 1, 144}, {"pointwise", 3136, 144, 1, 24},
    {"pointwise", 49, 320, 1, 960},  {"conv7x7_first", 12544, 64, 7, 21},
    {"conv3x3", 3136, 64, 9, 64},    {"conv3x3", 784, 128, 9, 128},
    {"conv3x3", 196, 256, 9, 256},   {"conv3x3", 49, 512, 9, 512},
};

// Offsets of a 3x3 neighbourhood over a square image of `m` pixels; other tap counts read runs
// that follow each other, as kernel rows of a first layer do.
std::vector<int32_t> offset_table(const GemmShape& shape) {
  std::vector<int32_t> offsets;
  int64_t side = 1;
  while (side * side < shape.m) ++side;
  for (int64_t p = 0; p < shape.m; ++p) {
    for (int t = 0; t < shape.taps; ++t) {
      int64_t pixel = p + t;
      if (shape.taps == 9) {
        const int64_t y = p / side + t / 3 - 1, x = p % side + t % 3 - 1;
        pixel = y < 0 || y >= side || x < 0 || x >= side ? -1 : y * side + x;
      }
      offsets.push_back(pixel < 0 ? Rows<act_t>::kPadding
                                  : static_cast<int32_t>(pixel * shape.depth));
    }
  }
  return offsets;
}

void run_gemm(benchmark::State& state, const gemm_s8::Kernel& kernel, const GemmShape& shape) {
  const size_t depth = static_cast<size_t>(shape.depth), n = static_cast<size_t>(shape.n);
  const size_t k = static_cast<size_t>(shape.taps) * depth;
  const size_t pixels = static_cast<size_t>(shape.m) + 16;
  AlignedBuffer a = filled(pixels * depth);
  AlignedBuffer weights = filled(n * k);
  AlignedBuffer c(static_cast<size_t>(shape.m) * n);
  AlignedBuffer pad_row(depth);
  std::memset(pad_row.data(), 128, depth);
  const std::vector<int32_t> bias(n, 100);
  const std::vector<float> multiplier(n, 1e-4f);
  const std::vector<int32_t> offsets = offset_table(shape);

  gemm_s8::PackArgs pack;
  pack.weights = weights.as<int8_t>();
  pack.bias = bias.data();
  pack.multiplier = multiplier.data();
  pack.n = shape.n;
  pack.taps = shape.taps;
  pack.depth = shape.depth;
  AlignedBuffer packed(kernel.packed_bytes(shape.n, shape.taps, shape.depth));
  kernel.pack(pack, packed.data());
  AlignedBuffer scratch(kernel.scratch_bytes(shape.n, shape.taps, shape.depth));

  gemm_s8::RunArgs run;
  run.a.base = a.as<act_t>();
  run.a.stride = shape.depth;
  run.a.offsets = shape.taps == 1 ? nullptr : offsets.data();
  run.a.pad_row = pad_row.as<act_t>();
  run.a.taps = shape.taps;
  run.a.depth = shape.depth;
  run.packed = packed.data();
  run.n = shape.n;
  run.c = c.as<act_t>();
  run.c_stride = shape.n;
  run.m_end = shape.m;
  run.n_end = shape.n;
  run.scratch = scratch.data();
  const Stopwatch watch;
  for (auto _ : state) {
    kernel.run(run);
    benchmark::ClobberMemory();
  }
  report_macs(state, watch, static_cast<double>(shape.m) * static_cast<double>(n * k), kernel.isa,
              true);
}

const bool kRegistered = [] {
  for (const gemm_s8::Kernel& kernel : gemm_s8::kernels()) {
    if (!detected(kernel.isa)) continue;
    for (const GemmShape& shape : kShapes) {
      std::string name = std::string(kernel.name) + "/" + shape.name + "/m" +
                         std::to_string(shape.m) + "_n" + std::to_string(shape.n) + "_k" +
                         (shape.taps > 1 ? std::to_string(shape.taps) + "x" : "") +
                         std::to_string(shape.depth);
      benchmark::RegisterBenchmark(name.c_str(), [&kernel, &shape](benchmark::State& state) {
        run_gemm(state, kernel, shape);
      })->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace zeropoint::bench
