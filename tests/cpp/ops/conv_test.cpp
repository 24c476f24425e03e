// conv2d, conv_transpose2d and linear against direct loops over the definition: int8 to the bit,
// and float32 to the bit in the engine's order of operations.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "ops/factories.h"
#include "ops/window.h"
#include "support.h"

namespace zeropoint {
namespace {

using test::Buffer;
using test::uniform;

struct Layer {
  bool transposed = false;
  Window window;
  int64_t groups = 1, images = 1, height = 1, width = 1, in = 1, out = 1;
  std::array<int64_t, 2> output_padding{0, 0};
  bool asymmetric_weights = false, per_channel = true, with_bias = true, clipped = false;
  bool constant_input = false;
  bool largest_weights = false;  // 127 or -127
  // How the names of the kernels begin that these levels shall choose; others, gemm_s8.
  const char *avx2_kernel = nullptr, *vnni_kernel = nullptr;

  std::string note() const {
    std::string s = transposed ? "conv_transpose2d" : "conv2d";
    const auto add = [&](const char* name, int64_t v) {
      s += std::string(" ") + name + "=" + std::to_string(v);
    };
    add("N", images), add("H", height), add("W", width), add("I", in), add("O", out);
    add("kh", window.kernel[0]), add("kw", window.kernel[1]), add("sy", window.strides[0]);
    add("sx", window.strides[1]), add("dy", window.dilations[0]), add("dx", window.dilations[1]);
    add("groups", groups);
    for (int64_t p : window.pads) add("pad", p);
    add("asym", asymmetric_weights), add("bias", with_bias), add("clip", clipped);
    add("constant", constant_input);
    return s + "; " + test::seed_note();
  }

  int64_t output(int axis) const {
    const auto a = static_cast<size_t>(axis);
    const int64_t size = axis == 0 ? height : width;
    if (!transposed)
      return (size + window.pads[a] + window.pads[a + 2] - window.extent(axis)) /
                 window.strides[a] +
             1;
    return (size - 1) * window.strides[a] + window.extent(axis) + output_padding[a] -
           window.pads[a] - window.pads[a + 2];
  }

  // Calls visit(iy, ix, tap) for the taps of output (oy, ox) in ascending (ky, kx); iy = -1 marks
  // padding. A transposed convolution has no term at all where the stride skips.
  template <typename Visit>
  void taps(int64_t oy, int64_t ox, const Visit& visit) const {
    for (int64_t ky = 0; ky < window.kernel[0]; ++ky) {
      for (int64_t kx = 0; kx < window.kernel[1]; ++kx) {
        int64_t iy, ix;
        if (transposed) {
          iy = oy + window.pads[0] - ky * window.dilations[0];
          ix = ox + window.pads[1] - kx * window.dilations[1];
          if (iy % window.strides[0] != 0 || ix % window.strides[1] != 0) continue;
          iy = iy < 0 ? -1 : iy / window.strides[0];
          ix = ix < 0 ? -1 : ix / window.strides[1];
        } else {
          iy = oy * window.strides[0] - window.pads[0] + ky * window.dilations[0];
          ix = ox * window.strides[1] - window.pads[1] + kx * window.dilations[1];
        }
        const bool inside = iy >= 0 && ix >= 0 && iy < height && ix < width;
        visit(inside ? iy : -1, ix, ky * window.kernel[1] + kx);
      }
    }
  }
};

void set_attributes(Attributes& a, const Layer& l) {
  const Window& w = l.window;
  a.set("strides", std::vector<int64_t>(w.strides.begin(), w.strides.end()));
  a.set("pads", std::vector<int64_t>(w.pads.begin(), w.pads.end()));
  a.set("dilations", std::vector<int64_t>(w.dilations.begin(), w.dilations.end()));
  a.set("groups", l.groups);
  if (l.transposed) {
    a.set("output_padding", std::vector<int64_t>(l.output_padding.begin(), l.output_padding.end()));
  }
}

ValueInfo activation(const char* name, DType dtype, float scale = 0.0f, int32_t file_zero = 0) {
  ValueInfo v;
  v.name = name;
  v.dtype = dtype;
  v.quantized = dtype == DType::s8;
  if (v.quantized) v.quant = {scale, file_zero + kActOffset};
  return v;
}

ValueInfo constant(const char* name, DType dtype, Shape shape, const void* data) {
  ValueInfo v;
  v.name = name;
  v.dtype = dtype;
  v.shape = shape;
  v.constant = std::make_unique<Constant>();
  v.constant->data = data;
  return v;
}

// Runs the operator on every detected level with 1 and 3 threads; `check` sees each result.
template <typename T, typename Check>
void run_everywhere(const NodeInfo& node, const Layer& l, const T* x, const Check& check) {
  for (Isa level : detected_isa_levels()) {
    for (int threads : {1, 3}) {
      INFO(l.note() << "; isa " << std::string(isa_name(level)) << ", threads " << threads);
      ThreadPool pool(threads);
      const std::unique_ptr<Op> op = make_op(node, {isa_mask(level), threads});
      std::vector<Shape> inputs = {Shape{l.images, l.height, l.width, l.in}};
      for (size_t i = 1; i < node.inputs.size(); ++i) {
        inputs.push_back(node.inputs[i] ? node.inputs[i]->shape : Shape{});
      }
      const std::vector<Shape> outputs = op->infer(inputs);
      REQUIRE(outputs.size() == 1);
      REQUIRE(outputs[0] == Shape{l.images, l.output(0), l.output(1), l.out});
      const auto count = static_cast<size_t>(outputs[0].elements());
      Buffer<T> y(count, T(77));
      const std::unique_ptr<Plan> plan = op->plan(inputs, outputs);
      if (l.avx2_kernel != nullptr) {
        const bool vnni = level == Isa::avxvnni || level == Isa::avx512vnni;
        const char* const wanted = level == Isa::avx2 ? l.avx2_kernel
                                   : vnni             ? l.vnni_kernel
                                                      : "gemm_s8_";
        INFO(plan->kernel << ", not " << wanted);
        CHECK(std::string(plan->kernel).find(wanted) == 0);
      }
      constexpr size_t kMargin = 64 * 1024;
      AlignedBuffer scratch(plan->scratch_bytes + kMargin);
      unsigned char* const margin = scratch.as<unsigned char>() + plan->scratch_bytes;
      std::fill_n(margin, kMargin, static_cast<unsigned char>(0x5A));
      RunContext context{pool, scratch.data()};
      std::vector<const void*> in(node.inputs.size(), nullptr);
      in[0] = x;
      void* out = y.data();
      plan->run(in.data(), &out, context);
      check(y);
      CHECK(std::count(margin, margin + kMargin, 0x5A) == kMargin);
    }
  }
}

void check_int8(const Layer& l, std::mt19937_64& g) {
  const int64_t depth = l.in / l.groups, taps = l.window.taps(), per_group = l.out / l.groups;
  Buffer<act_t> x(static_cast<size_t>(l.images * l.height * l.width * l.in));
  test::fill_random(x, g, kActMin, kActMax);
  std::vector<int8_t> w(static_cast<size_t>(l.out * taps * depth));
  // With every other zero point at an end of the range, differences of 255 and -255 occur.
  const auto zero_point = [&] {
    return uniform(g, 0, 1) ? uniform(g, -128, 127) : uniform(g, 0, 1) ? -128 : 127;
  };
  for (auto& v : w) {
    v = static_cast<int8_t>(l.asymmetric_weights ? zero_point() : uniform(g, -127, 127));
    if (l.largest_weights) v = v < 0 ? -127 : 127;
  }
  std::vector<int32_t> bias(static_cast<size_t>(l.out));
  for (auto& v : bias) v = static_cast<int32_t>(uniform(g, -20000, 20000));

  ValueInfo vx = activation("x", DType::s8, 0.05f, static_cast<int32_t>(uniform(g, -128, 127)));
  const float sy = 0.02f * std::sqrt(static_cast<float>(taps * depth));
  ValueInfo vy = activation("y", DType::s8, sy, static_cast<int32_t>(uniform(g, -128, 127)));
  vy.shape = Shape{l.images, l.output(0), l.output(1), l.out};
  ValueInfo vw = constant("w", DType::s8,
                          Shape{l.out, l.window.kernel[0], l.window.kernel[1], depth}, w.data());
  const auto channels = static_cast<size_t>(l.per_channel ? l.out : 1);
  vw.constant->axis = l.per_channel ? 0 : -1;
  for (size_t c = 0; c < channels; ++c) {
    vw.constant->scales.push_back(0.001f * static_cast<float>(uniform(g, 1, 9)));
    vw.constant->zero_points.push_back(l.asymmetric_weights ? static_cast<int32_t>(zero_point())
                                                            : 0);
  }
  ValueInfo vb = constant("b", DType::s32, Shape{l.out}, bias.data());
  NodeInfo node;
  node.name = "n";
  node.op = l.transposed ? "conv_transpose2d" : "conv2d";
  node.inputs = {&vx, &vw, l.with_bias ? &vb : nullptr};
  node.outputs = {&vy};
  set_attributes(node.attributes, l);
  OutputClamp clamp{vy.quant.zero_point, kActMin, kActMax};
  if (l.clipped) {
    node.attributes.set("qmin", int64_t{-50});
    node.attributes.set("qmax", int64_t{60});
    clamp.qmin = -50 + kActOffset;
    clamp.qmax = 60 + kActOffset;
  }

  std::vector<act_t> expected;
  for (int64_t n = 0; n < l.images; ++n) {
    for (int64_t oy = 0; oy < l.output(0); ++oy) {
      for (int64_t ox = 0; ox < l.output(1); ++ox) {
        for (int64_t o = 0; o < l.out; ++o) {
          const size_t q = l.per_channel ? static_cast<size_t>(o) : 0;
          int64_t acc = l.with_bias ? bias[static_cast<size_t>(o)] : 0;
          l.taps(oy, ox, [&](int64_t iy, int64_t ix, int64_t t) {
            if (iy < 0) return;  // real zero
            for (int64_t i = 0; i < depth; ++i) {
              const int64_t c = o / per_group * depth + i;
              const int64_t a =
                  x[static_cast<size_t>(((n * l.height + iy) * l.width + ix) * l.in + c)];
              const int64_t b = w[static_cast<size_t>((o * taps + t) * depth + i)];
              acc += (a - vx.quant.zero_point) * (b - vw.constant->zero_points[q]);
            }
          });
          const float m = requantize_multiplier(vx.quant.scale, vw.constant->scales[q], sy);
          expected.push_back(requantize(static_cast<int32_t>(acc), m, clamp));
        }
      }
    }
  }
  std::vector<int8_t> file;  // the input as a constant of the file, in the file's domain
  if (l.constant_input) {
    for (size_t i = 0; i < x.size(); ++i) file.push_back(static_cast<int8_t>(x[i] - kActOffset));
    vx.shape = Shape{l.images, l.height, l.width, l.in};
    vx.constant = std::make_unique<Constant>();
    vx.constant->data = file.data();
    vx.constant->scales = {vx.quant.scale};
    vx.constant->zero_points = {vx.quant.zero_point - kActOffset};
  }
  const void* input = l.constant_input ? static_cast<const void*>(file.data()) : x.data();
  run_everywhere(node, l, static_cast<const act_t*>(input), [&](const Buffer<act_t>& y) {
    REQUIRE(y.size() == expected.size());
    int64_t wrong = 0;
    for (size_t i = 0; i < expected.size(); ++i) wrong += y[i] != expected[i];
    CHECK(wrong == 0);
  });
}

void check_float(const Layer& l, std::mt19937_64& g) {
  const int64_t depth = l.in / l.groups, taps = l.window.taps(), per_group = l.out / l.groups;
  std::normal_distribution<float> normal;
  Buffer<float> x(static_cast<size_t>(l.images * l.height * l.width * l.in));
  for (size_t i = 0; i < x.size(); ++i) x[i] = normal(g);
  std::vector<float> w(static_cast<size_t>(l.out * taps * depth)), bias(static_cast<size_t>(l.out));
  for (auto& v : w) v = normal(g);
  for (auto& v : bias) v = normal(g);
  ValueInfo vx = activation("x", DType::f32), vy = activation("y", DType::f32);
  ValueInfo vw = constant("w", DType::f32,
                          Shape{l.out, l.window.kernel[0], l.window.kernel[1], depth}, w.data());
  ValueInfo vb = constant("b", DType::f32, Shape{l.out}, bias.data());
  NodeInfo node;
  node.name = "n";
  node.op = l.transposed ? "conv_transpose2d" : "conv2d";
  node.inputs = {&vx, &vw, l.with_bias ? &vb : nullptr};
  node.outputs = {&vy};
  set_attributes(node.attributes, l);
  if (l.clipped) {
    node.attributes.set("clip_min", 0.0);
    node.attributes.set("clip_max", 6.0);
  }
  const bool depthwise = !l.transposed && depth == 1 && l.groups == l.out;

  std::vector<float> expected;
  for (int64_t n = 0; n < l.images; ++n) {
    for (int64_t oy = 0; oy < l.output(0); ++oy) {
      for (int64_t ox = 0; ox < l.output(1); ++ox) {
        for (int64_t o = 0; o < l.out; ++o) {
          float acc = l.with_bias ? bias[static_cast<size_t>(o)] : 0.0f;
          l.taps(oy, ox, [&](int64_t iy, int64_t ix, int64_t t) {
            for (int64_t i = 0; i < depth; ++i) {
              const int64_t c = o / per_group * depth + i;
              const float a =
                  iy < 0 ? 0.0f
                         : x[static_cast<size_t>(((n * l.height + iy) * l.width + ix) * l.in + c)];
              const float b = w[static_cast<size_t>((o * taps + t) * depth + i)];
              if (depthwise) {
                const volatile float product = a * b;
                acc = acc + product;
              } else {
                acc = std::fma(a, b, acc);
              }
            }
          });
          if (l.clipped) acc = acc < 0.0f ? 0.0f : (acc > 6.0f ? 6.0f : acc);
          expected.push_back(acc);
        }
      }
    }
  }
  run_everywhere(node, l, x.data(), [&](const Buffer<float>& y) {
    REQUIRE(y.size() == expected.size());
    int64_t wrong = 0;
    for (size_t i = 0; i < expected.size(); ++i) wrong += y[i] != expected[i];
    CHECK(wrong == 0);
  });
}

Layer layer(int64_t images, int64_t size, int64_t in, int64_t out, int64_t kernel, int64_t stride,
            int64_t pad) {
  Layer l;
  l.images = images;
  l.height = l.width = size;
  l.in = in;
  l.out = out;
  l.window.kernel = {kernel, kernel};
  l.window.strides = {stride, stride};
  l.window.pads = {pad, pad, pad, pad};
  return l;
}

void check_both(const Layer& l, std::mt19937_64& g) {
  check_int8(l, g);
  check_float(l, g);
}

TEST_CASE("conv2d: the forms that networks use") {
  auto g = test::generator("conv forms");
  check_both(layer(2, 9, 3, 16, 3, 2, 1), g);  // first layer, row-merged with padding
  check_both(layer(1, 15, 3, 20, 7, 2, 3), g);
  check_both(layer(1, 8, 3, 16, 3, 1, 0), g);   // row-merged without a copy
  check_both(layer(2, 71, 3, 33, 7, 2, 3), g);  // windows in one piece: bands of rows, odd edges
  check_both(layer(1, 37, 3, 32, 3, 2, 1), g);  // in one piece on AVX2 alone
  check_both(layer(1, 20, 3, 64, 3, 3, 0), g);  // windows that share no rows
  check_both(layer(2, 9, 5, 64, 5, 1, 4), g);   // padding almost as wide as the window
  check_both(layer(1, 10, 1, 70, 5, 4, 2), g);
  check_both(layer(2, 7, 16, 24, 1, 1, 0), g);  // pointwise
  check_both(layer(1, 7, 20, 33, 1, 2, 0), g);  // strided pointwise
  check_both(layer(1, 7, 17, 65, 3, 1, 1), g);
  check_both(layer(1, 6, 64, 96, 3, 1, 1), g);
  Layer depthwise = layer(2, 8, 24, 24, 3, 2, 1);
  depthwise.groups = 24;
  check_both(depthwise, g);
  depthwise = layer(1, 9, 70, 70, 5, 1, 2);
  depthwise.groups = 70;
  check_both(depthwise, g);
  Layer grouped = layer(1, 6, 24, 36, 3, 1, 1);  // groups packed side by side
  grouped.groups = 6;
  check_both(grouped, g);
  Layer uneven = layer(1, 14, 144, 18, 3, 1, 1);  // eight groups side by side, and one
  uneven.groups = 9;
  check_both(uneven, g);
  uneven = layer(1, 14, 96, 24, 3, 1, 1);  // two, and one
  uneven.groups = 3;
  check_both(uneven, g);
  Layer multiplier = layer(1, 6, 8, 24, 3, 1, 1);  // depthwise with a multiplier of 3
  multiplier.groups = 8;
  check_both(multiplier, g);
}

TEST_CASE("conv2d: 3x3 with stride 1 by Winograd's minimal filtering") {
  auto g = test::generator("conv winograd");
  const auto check_chosen = [&](Layer& l, const char* avx2, const char* vnni) {
    l.avx2_kernel = avx2;
    l.vnni_kernel = vnni;
    check_int8(l, g);
  };
  Layer l = layer(2, 21, 24, 40, 3, 1, 1);
  check_chosen(l, "winograd_s8_4x4_", "gemm_s8_");
  l = layer(1, 20, 72, 40, 3, 1, 1);
  check_chosen(l, "winograd_s8_4x4_", "winograd_s8_4x4_");
  l.clipped = true;
  l.window.pads = {0, 2, 1, 0};
  check_chosen(l, "winograd_s8_4x4_", "winograd_s8_4x4_");
  l = layer(1, 6, 24, 40, 3, 1, 1);
  check_chosen(l, "winograd_s8_2x2_", "gemm_s8_");
  // The weights decide whether their sums might need more than 26 bits.
  l = layer(1, 20, 256, 8, 3, 1, 1);
  check_chosen(l, "winograd_s8_4x4_", "winograd_s8_4x4_");
  l.largest_weights = true;
  check_chosen(l, "winograd_s8_2x2_", "gemm_s8_");
  l = layer(1, 20, 24, 40, 3, 2, 1);
  check_chosen(l, "gemm_s8_", "gemm_s8_");
}

TEST_CASE("conv2d: random shapes") {
  auto g = test::generator("conv random");
  for (int round = 0; round < 40; ++round) {
    Layer l;
    l.images = uniform(g, 1, 3);
    l.groups = uniform(g, 0, 2) ? 1 : uniform(g, 2, 5);
    l.in = l.groups * uniform(g, 1, 20);
    l.out = l.groups * uniform(g, 1, 20);
    for (size_t a = 0; a < 2; ++a) {
      l.window.kernel[a] = uniform(g, 1, 4);
      l.window.strides[a] = uniform(g, 1, 3);
      l.window.dilations[a] = uniform(g, 1, 2);
      l.window.pads[a] = uniform(g, 0, 3);
      l.window.pads[a + 2] = uniform(g, 0, 3);
    }
    l.height = uniform(g, l.window.extent(0), 11);
    l.width = uniform(g, l.window.extent(1), 11);
    l.asymmetric_weights = uniform(g, 0, 3) == 0;
    l.per_channel = uniform(g, 0, 2) != 0;
    l.with_bias = uniform(g, 0, 3) != 0;
    l.clipped = uniform(g, 0, 1) != 0;
    check_both(l, g);
  }
}

TEST_CASE("conv_transpose2d: random shapes") {
  auto g = test::generator("conv transpose random");
  for (int round = 0; round < 40; ++round) {
    Layer l;
    l.transposed = true;
    l.images = uniform(g, 1, 2);
    l.groups = uniform(g, 0, 2) ? 1 : uniform(g, 2, 3);
    l.in = l.groups * uniform(g, 1, 20);
    l.out = l.groups * uniform(g, 1, 20);
    l.height = uniform(g, 1, 6);
    l.width = uniform(g, 1, 6);
    for (size_t a = 0; a < 2; ++a) {
      l.window.kernel[a] = uniform(g, 1, 4);
      l.window.strides[a] = uniform(g, 1, 4);  // above the kernel too: phases without taps
      l.window.dilations[a] = uniform(g, 1, 2);
      l.output_padding[a] = uniform(g, 0, l.window.strides[a] - 1);
      l.window.pads[a] = uniform(g, 0, 2);
    }
    if (l.output(0) < 1 || l.output(1) < 1) continue;
    l.asymmetric_weights = uniform(g, 0, 3) == 0;
    l.with_bias = uniform(g, 0, 3) != 0;
    l.clipped = uniform(g, 0, 1) != 0;
    check_both(l, g);
  }
}

TEST_CASE("conv2d and conv_transpose2d of a constant") {
  auto g = test::generator("conv constant");
  for (const bool transposed : {false, true}) {
    for (const int64_t groups : {1, 16}) {  // 16: depthwise
      Layer l = layer(2, 5, 16, 16, 3, 2, 1);
      l.transposed = transposed;
      l.groups = groups;
      l.constant_input = true;
      check_int8(l, g);
    }
  }
}

TEST_CASE("linear of a constant, with weights far from their zero point") {
  const std::vector<int8_t> x = {-128, -1, 0, 127}, w = {127, -128, 127, 127};
  ValueInfo vx = activation("x", DType::s8, 1.0f, -3), vy = activation("y", DType::s8, 1000.0f);
  vx.shape = Shape{1, 4};
  vx.constant = std::make_unique<Constant>();
  vx.constant->data = x.data();
  vx.constant->scales = {1.0f};
  vx.constant->zero_points = {-3};
  ValueInfo vw = constant("w", DType::s8, Shape{1, 4}, w.data());
  vw.constant->scales = {1.0f};
  vw.constant->zero_points = {-128};
  NodeInfo node;
  node.op = "linear";
  node.inputs = {&vx, &vw};
  node.outputs = {&vy};
  for (Isa level : detected_isa_levels()) {
    ThreadPool pool(1);
    const std::unique_ptr<Op> op = make_op(node, {isa_mask(level), 1});
    const std::unique_ptr<Plan> plan = op->plan({vx.shape, vw.shape}, {Shape{1, 1}});
    AlignedBuffer scratch(plan->scratch_bytes);
    RunContext context{pool, scratch.data()};
    const void* inputs[] = {x.data(), w.data()};
    act_t y = 0;
    void* output = &y;
    plan->run(inputs, &output, context);
    // (-125 + 3 + 130) * 255 / 1000 = 2.04
    CHECK(static_cast<int>(y) - kActOffset == 2);
  }
}

TEST_CASE("packed weights stay in proportion to the weights") {
  // A prime number of groups, which no block of groups divides.
  std::vector<int8_t> w(1009 * 2, 1);
  ValueInfo x = activation("x", DType::s8, 0.1f), y = activation("y", DType::s8, 0.1f);
  ValueInfo vw = constant("w", DType::s8, Shape{1009, 1, 1, 2}, w.data());
  vw.constant->scales = {0.1f};
  vw.constant->zero_points = {0};
  NodeInfo node;
  node.op = "conv2d";
  node.inputs = {&x, &vw};
  node.outputs = {&y};
  node.attributes.set("groups", int64_t{1009});
  CHECK(make_op(node, {isa_mask(Isa::portable), 1})->packed_bytes() < 64 * w.size());
  // A transposed convolution most of whose phases no tap reaches.
  vw.shape = Shape{2, 1, 1, 1009};
  node.op = "conv_transpose2d";
  node.attributes = Attributes();
  node.attributes.set("strides", std::vector<int64_t>{64, 64});
  CHECK(make_op(node, {isa_mask(Isa::portable), 1})->packed_bytes() < 64 * w.size());
}

TEST_CASE("layers of any size that fits memory; offset tables have a limit") {
  std::vector<float> w(1024 * 1024);
  ValueInfo x = activation("x", DType::f32), y = activation("y", DType::f32);
  ValueInfo vw = constant("w", DType::f32, Shape{1024, 1024}, w.data());
  NodeInfo node;
  node.op = "linear";
  node.inputs = {&x, &vw};
  node.outputs = {&y};
  const OpContext context{isa_mask(Isa::portable), 1};
  const Shape many{int64_t{1} << 21, 1024};
  CHECK(make_op(node, context)->plan({many, vw.shape}, {many})->macs == int64_t{1} << 41);

  // Row-merged, with much more padding than image.
  vw.shape = Shape{2, 2, 2, 1};
  node.op = "conv2d";
  node.attributes.set("pads", std::vector<int64_t>{12000, 12000, 12000, 12000});
  const std::unique_ptr<Op> op = make_op(node, context);
  const std::vector<Shape> inputs = {Shape{1, 1, 1, 1}, vw.shape};
  CHECK_THROWS_WITH_AS(op->plan(inputs, op->infer(inputs)), doctest::Contains("offsets"), Error);
}

TEST_CASE("conv2d: images whose sides do not fit the kernels' integers are refused when planned") {
  std::vector<int8_t> w(32 * 3 * 3 * 3, 1);
  ValueInfo x = activation("x", DType::s8, 0.1f), y = activation("y", DType::s8, 0.1f);
  ValueInfo vw = constant("w", DType::s8, Shape{1, 3, 3, 1}, w.data());
  vw.constant->scales = {0.1f};
  vw.constant->zero_points = {0};
  NodeInfo node;
  node.op = "conv2d";
  node.inputs = {&x, &vw};
  node.outputs = {&y};
  const auto refuses = [&](const Op& op, const Shape& shape) {
    const std::vector<Shape> inputs = {shape, vw.shape};
    CHECK_THROWS_AS(op.plan(inputs, op.infer(inputs)), Error);
  };
  for (const Isa isa : detected_isa_levels()) {
    INFO(isa_name(isa));
    // Depthwise, of one channel.
    vw.shape = Shape{1, 3, 3, 1};
    node.attributes.set("strides", std::vector<int64_t>{1, 1});
    for (const int64_t pad : {1, 16, 1 << 24}) {
      node.attributes.set("pads", std::vector<int64_t>{pad, pad, pad, pad});
      const std::unique_ptr<Op> op = make_op(node, {isa_mask(isa), 1});
      refuses(*op, Shape{1, 1, 2147483647, 1});
      refuses(*op, Shape{1, 2147483647, 1, 1});
    }
    // A first layer.
    vw.shape = Shape{32, 3, 3, 3};
    node.attributes.set("strides", std::vector<int64_t>{1, 1 << 24});
    node.attributes.set("pads", std::vector<int64_t>{0, 0, 0, 0});
    refuses(*make_op(node, {isa_mask(isa), 1}), Shape{1, 3, 3000000000, 3});
  }
}

TEST_CASE("conv2d refuses what cannot be right") {
  std::vector<int8_t> w(2 * 3 * 3 * 4, 1);
  ValueInfo x = activation("x", DType::s8, 0.1f), y = activation("y", DType::s8, 0.1f);
  ValueInfo vw = constant("w", DType::s8, Shape{2, 3, 3, 4}, w.data());
  vw.constant->scales = {0.1f};
  vw.constant->zero_points = {0};
  NodeInfo node;
  node.op = "conv2d";
  node.inputs = {&x, &vw};
  node.outputs = {&y};
  const OpContext context{isa_mask(Isa::portable), 1};

  const std::unique_ptr<Op> op = make_op(node, context);
  CHECK_THROWS_AS(op->infer({Shape{1, 8, 8, 5}}), Error);  // wrong channels
  CHECK_THROWS_AS(op->infer({Shape{8, 8, 4}}), Error);     // wrong rank
  CHECK_THROWS_AS(op->infer({Shape{1, 2, 8, 4}}), Error);  // smaller than the window

  vw.constant->scales = {0.1f, 0.1f, 0.1f};
  vw.constant->zero_points = {0, 0, 0};
  vw.constant->axis = 0;
  CHECK_THROWS_AS(make_op(node, context), Error);  // three scales for two channels
  vw.constant->scales = {0.1f};
  vw.constant->zero_points = {0};
  vw.constant->axis = -1;
  node.attributes.set("groups", int64_t{3});
  CHECK_THROWS_AS(make_op(node, context), Error);  // groups do not divide the outputs
}

TEST_CASE("a layer that could overflow its accumulator is refused by name") {
  const int64_t k = (int64_t{1} << 31) / (127 * 255) + 1;
  std::vector<int8_t> w(static_cast<size_t>(k), 127);
  ValueInfo x = activation("x", DType::s8, 0.1f, -128), y = activation("y", DType::s8, 0.1f);
  ValueInfo vw = constant("big", DType::s8, Shape{1, k}, w.data());
  vw.constant->scales = {0.1f};
  vw.constant->zero_points = {0};
  NodeInfo node;
  node.op = "linear";
  node.inputs = {&x, &vw};
  node.outputs = {&y};
  const OpContext context{isa_mask(Isa::portable), 1};
  try {
    make_op(node, context);
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("'big'") != std::string::npos);
  }
  w.back() = 0;
  vw.shape = Shape{1, k - 1};
  CHECK_NOTHROW(make_op(node, context));
}

}  // namespace
}  // namespace zeropoint
