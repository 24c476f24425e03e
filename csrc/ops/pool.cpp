// max_pool2d, avg_pool2d and global_max_pool over channels-last activations, int8 and float32.
#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/pool_f32/pool_f32.h"
#include "kernels/pool_s8/pool_s8.h"
#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/reduction.h"
#include "ops/window.h"

namespace zeropoint {
namespace {

enum class Mode : uint8_t { max, mean };

// What a plan of any pooling needs beside the kernel.
template <typename T>
struct PoolTables {
  std::vector<int32_t> offsets;
  std::vector<float> multiplier;  // mean only: [output pixels]
  AlignedBuffer pad_row;          // [channels]
  int64_t images, input_image, output_pixels;
  int channels, taps;
};

// Runs `kernel` over all images; `proto` carries what does not depend on the place.
template <typename T, typename Args>
void run_windows(void (*kernel)(const Args&), const Args& proto, const PoolTables<T>& tables,
                 const T* x, T* y, ThreadPool& pool, double nanoseconds_per_tap) {
  const int64_t pixels = tables.output_pixels;
  const double cost = nanoseconds_per_tap * tables.taps * tables.channels;
  pool.parallel_for(tables.images * pixels, grain_for(cost + 1.0),
                    [&](int64_t begin, int64_t end, int) {
                      while (begin < end) {
                        const int64_t image = begin / pixels;
                        const int64_t stop = std::min(end, (image + 1) * pixels);
                        Args args = proto;
                        args.x.base = x + image * tables.input_image;
                        args.x.offsets = tables.offsets.data();
                        args.x.pad_row = tables.pad_row.template as<T>();
                        args.x.taps = tables.taps;
                        args.x.depth = tables.channels;
                        args.y = y + image * pixels * tables.channels;
                        args.y_stride = tables.channels;
                        args.pixel_begin = begin - image * pixels;
                        args.pixel_end = stop - image * pixels;
                        kernel(args);
                        begin = stop;
                      }
                    });
}

class Pool2d : public Op {
 public:
  Pool2d(const NodeInfo& node, Mode mode)
      : mode_(mode), window_(read_window(node.attributes)), x_(node.input(0)) {
    if (mode == Mode::max) {
      expect_same_meaning(node.input(0), node.output());
    } else {
      expect_same_dtype(node.input(0), node.output());
      const int64_t include = node.attributes.get_int("count_include_pad", 0);
      if (include != 0 && include != 1) {
        throw Error(ErrorCode::invalid_model, "attribute 'count_include_pad' is " +
                                                  std::to_string(include) + ", expected 0 or 1");
      }
      include_pad_ = include == 1;
    }
    if (window_.taps() > pool_s8::kMaxTaps) {
      throw Error(ErrorCode::unsupported, "a pooling window of " + std::to_string(window_.taps()) +
                                              " elements is too large");
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    expect_rank(inputs[0], 4, "[N, H, W, C]");
    return {window_output_shape(window_, inputs[0], inputs[0][3])};
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 protected:
  // Tables for one input shape; multiplier_of(count) gives a pixel's multiplier from its divisor.
  template <typename T, typename MultiplierOf>
  PoolTables<T> tables(const Shape& x, const Shape& y, T padding,
                       const MultiplierOf& multiplier_of) const {
    PoolTables<T> t;
    t.offsets = build_offsets(window_, x[1], x[2], x[3]);
    t.images = x[0];
    t.input_image = x.elements(1, 4);
    t.output_pixels = y.elements(1, 3);
    t.channels = static_cast<int>(x[3]);
    t.taps = static_cast<int>(window_.taps());
    t.pad_row = AlignedBuffer(static_cast<size_t>(x[3]) * sizeof(T));
    std::fill_n(t.pad_row.template as<T>(), x[3], padding);

    const std::vector<int32_t> rows = inside_taps(window_, 0, x[1]);
    const std::vector<int32_t> columns = inside_taps(window_, 1, x[2]);
    if (mode_ == Mode::max || !include_pad_) check_no_empty_window(rows, columns);
    if (mode_ == Mode::mean) {
      t.multiplier.reserve(static_cast<size_t>(t.output_pixels));
      for (int64_t row : rows) {
        for (int64_t column : columns) {
          t.multiplier.push_back(multiplier_of(include_pad_ ? window_.taps() : row * column));
        }
      }
    }
    return t;
  }

  Mode mode_;
  bool include_pad_ = false;
  Window window_;
  Operand x_;

 private:
  static void check_no_empty_window(const std::vector<int32_t>& rows,
                                    const std::vector<int32_t>& columns) {
    for (const std::vector<int32_t>* counts : {&rows, &columns}) {
      for (int32_t count : *counts) {
        if (count == 0) {
          throw Error(ErrorCode::invalid_argument,
                      "a pooling window lies wholly in the padding; use pads smaller than the "
                      "kernel");
        }
      }
    }
  }
};

class Pool2dS8 final : public Pool2d {
 public:
  Pool2dS8(const NodeInfo& node, const OpContext& context, Mode mode)
      : Pool2d(node, mode),
        kernel_(pool_s8::select(context.isa)),
        quant_x_(quant_of(node.input(0))),
        scale_y_(quant_of(node.output()).scale),
        clamp_(full_clamp(node.output())) {
    if (mode == Mode::mean) checked_multiplier(mean_multiplier(quant_x_.scale, 1, scale_y_));
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    const act_t padding = static_cast<act_t>(mode_ == Mode::max ? kActMin : quant_x_.zero_point);
    return make_kernel_plan(
        kernel_, [this, t = tables<act_t>(inputs[0], outputs[0], padding, [this](int64_t n) {
                          return mean_multiplier(quant_x_.scale, n, scale_y_);
                        })](const void* const* in, void* const* out, RunContext& context) {
          pool_s8::RunArgs args;
          args.clamp = clamp_;
          args.zero_point = quant_x_.zero_point;
          args.multiplier = t.multiplier.data();
          run_windows(mode_ == Mode::max ? kernel_.max : kernel_.mean, args, t, x_.as<act_t>(in[0]),
                      static_cast<act_t*>(out[0]), context.pool, 0.05);
        });
  }

 private:
  const pool_s8::Kernel& kernel_;
  QuantParams quant_x_;
  float scale_y_;
  OutputClamp clamp_;
};

class Pool2dF32 final : public Pool2d {
 public:
  Pool2dF32(const NodeInfo& node, const OpContext& context, Mode mode)
      : Pool2d(node, mode), kernel_(pool_f32::select(context.isa)) {}

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    const float padding = mode_ == Mode::max ? -std::numeric_limits<float>::infinity() : 0.0f;
    return make_kernel_plan(
        kernel_, [this, t = tables<float>(inputs[0], outputs[0], padding, [](int64_t n) {
                          return 1.0f / static_cast<float>(n);
                        })](const void* const* in, void* const* out, RunContext& context) {
          pool_f32::RunArgs args;
          args.multiplier = t.multiplier.data();
          run_windows(mode_ == Mode::max ? kernel_.max : kernel_.mean, args, t, x_.as<float>(in[0]),
                      static_cast<float*>(out[0]), context.pool, 0.1);
        });
  }

 private:
  const pool_f32::Kernel& kernel_;
};

// The maximum over all axes but the first and the last.
class GlobalMaxPool final : public Op {
 public:
  GlobalMaxPool(const NodeInfo& node, const OpContext& context)
      : int8_(expect_float_or_int8(node)),
        kernel_s8_(pool_s8::select(context.isa)),
        kernel_f32_(pool_f32::select(context.isa)),
        x_(node.input(0)) {
    expect_same_meaning(node.input(0), node.output());
    if (int8_) clamp_ = full_clamp(node.output());
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs[0];
    if (x.rank() < 3) {
      throw Error(ErrorCode::invalid_model, "the input has shape " + x.to_string() +
                                                ", expected at least 3 dimensions [N, ..., C]");
    }
    Shape y = x;
    for (int i = 1; i + 1 < x.rank(); ++i) {
      if (x[i] == 0) {
        throw Error(ErrorCode::invalid_argument,
                    "the maximum over no element, in an input of shape " + x.to_string());
      }
      y[i] = 1;
    }
    return {y};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    const Shape& x = inputs[0];
    const Reduction reduction(x[0], x.elements(1, x.rank() - 1), x.back());
    if (int8_) {
      return make_kernel_plan(kernel_s8_, [this, reduction](const void* const* in, void* const* out,
                                                            RunContext& context) {
        pool_s8::RunArgs args;
        args.clamp = clamp_;
        reduction.run(kernel_s8_.max, args, x_.as<act_t>(in[0]), static_cast<act_t*>(out[0]),
                      context.pool, 0.05);
      });
    }
    return make_kernel_plan(kernel_f32_, [this, reduction](const void* const* in, void* const* out,
                                                           RunContext& context) {
      reduction.run(kernel_f32_.max, pool_f32::RunArgs(), x_.as<float>(in[0]),
                    static_cast<float*>(out[0]), context.pool, 0.1);
    });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  bool int8_;
  const pool_s8::Kernel& kernel_s8_;
  const pool_f32::Kernel& kernel_f32_;
  Operand x_;
  OutputClamp clamp_;
};

std::unique_ptr<Op> make_pool2d(const NodeInfo& node, const OpContext& context, Mode mode) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  if (expect_float_or_int8(node)) return std::make_unique<Pool2dS8>(node, context, mode);
  return std::make_unique<Pool2dF32>(node, context, mode);
}

}  // namespace

std::unique_ptr<Op> make_max_pool2d(const NodeInfo& node, const OpContext& context) {
  return make_pool2d(node, context, Mode::max);
}
std::unique_ptr<Op> make_avg_pool2d(const NodeInfo& node, const OpContext& context) {
  return make_pool2d(node, context, Mode::mean);
}
std::unique_ptr<Op> make_global_max_pool(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  return std::make_unique<GlobalMaxPool>(node, context);
}

}  // namespace zeropoint
