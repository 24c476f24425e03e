// conv2d: a GEMM whose rows are found through an offset table, or a depthwise kernel; 3x3 with
// stride 1 may go to winograd_conv.h.
//
// Forms of the GEMM, all with the same weights in the same order over k (ky, kx, channel):
// - pointwise: rows are read as they lie, the whole batch at once;
// - general: an offset table [pixel][ky * kw + kx] of one image; outside taps read a padding row;
// - row-merged, for inputs of few channels: the image is copied once into a padded buffer, where
//   the kw * C bytes of a kernel row are contiguous, so a tap is a whole kernel row. Where the
//   whole window can be one tap, few_channels_conv.h takes over.
// Groups of few channels are packed side by side (block-diagonal weights) to fill the vectors.

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "kernels/accumulator_s32/accumulator_s32.h"
#include "kernels/depthwise_f32/depthwise_f32.h"
#include "kernels/depthwise_s8/depthwise_s8.h"
#include "ops/conv_shape.h"
#include "ops/factories.h"
#include "ops/few_channels_conv.h"
#include "ops/fused.h"
#include "ops/layer_weights.h"
#include "ops/operand.h"
#include "ops/plan.h"
#include "ops/window.h"
#include "ops/winograd_conv.h"
#include "ops/zero_point.h"

namespace zeropoint {
namespace {

// Below this many input channels a tap alone is too short to keep the dot products busy.
constexpr int kRowMergeDepth = 16;
// Groups are packed together until a block has this many output channels.
constexpr int kMinBlockColumns = 16;

// Offsets with each tap list written `repeat` times over.
std::vector<int32_t> repeat_taps(std::vector<int32_t> offsets, int taps, int repeat) {
  if (repeat == 1) return offsets;
  std::vector<int32_t> out;
  out.reserve(offsets.size() * static_cast<size_t>(repeat));
  for (size_t p = 0; p < offsets.size(); p += static_cast<size_t>(taps)) {
    for (int r = 0; r < repeat; ++r) {
      out.insert(out.end(), offsets.begin() + static_cast<ptrdiff_t>(p),
                 offsets.begin() + static_cast<ptrdiff_t>(p) + taps);
    }
  }
  return out;
}

// -- GEMM form -------------------------------------------------------------------------------

// T is the activation type; Y that of the output: T, or int32_t for raw accumulators. With
// `runtime_zero_point` (conv_integer) the zero point of x is input 2: padding holds it, and its
// term, zero_point * (sum of a channel's weights), is taken off the accumulators afterwards.
template <typename T, typename Y = T>
class GemmConv final : public Op {
 public:
  GemmConv(const NodeInfo& node, const LayerWeights<T>& weights, const OpContext& context,
           bool runtime_zero_point = false)
      : shape_(node, weights),
        x_(node.input(0)),
        threads_(context.threads),
        depth_(weights.depth),
        pad_value_(weights.pad_value) {
    const Window& window = shape_.window;
    row_merged_ = shape_.groups == 1 && weights.repeat == 1 && depth_ < kRowMergeDepth &&
                  window.kernel[1] > 1 && window.dilations[1] == 1;
    taps_ = row_merged_ ? static_cast<int>(window.kernel[0]) : weights.taps;
    repeat_ = weights.repeat;
    pack_blocks(weights, context);
    pad_row_ = filled_buffer<T>(block_depth_, pad_value_);
    if (runtime_zero_point) {
      zero_point_.emplace(node.optional_input(2));
      finisher_ = &accumulator_s32::select(context.isa);
      const int64_t k = int64_t{weights.taps} * weights.depth;
      for (int c = 0; c < weights.n; ++c) {
        int32_t sum = 0;
        for (int64_t i = 0; i < k; ++i) {
          sum += static_cast<int32_t>(weights.values[static_cast<size_t>(c * k + i)]);
        }
        channel_sums_.push_back(sum);
      }
    }
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    if (zero_point_ && inputs.size() > 2) zero_point_->check_shape(inputs[2], 1, "x");
    return shape_.infer(inputs);
  }
  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override;
  std::unique_ptr<Plan> plan_with_add(const std::vector<Shape>& inputs,
                                      const std::vector<Shape>& outputs,
                                      const FusedAdd& add) const override;
  std::unique_ptr<Plan> plan_with_stride(const std::vector<Shape>& inputs,
                                         const std::vector<Shape>& outputs,
                                         int64_t row_stride) const override;
  size_t packed_bytes() const override {
    size_t bytes = x_.bytes();
    for (const PackedGemm<T>& block : blocks_) bytes += block.packed_bytes();
    return bytes;
  }

 private:
  class ConvPlan;

  void pack_blocks(const LayerWeights<T>& weights, const OpContext& context) {
    const int groups = static_cast<int>(shape_.groups), group_n = weights.n / groups;
    // Groups side by side in one block; the last block may have fewer.
    int merge = 1;
    if constexpr (!std::is_same_v<T, float>) {
      merge = std::min(groups, ceil_div(kMinBlockColumns, group_n));
    }
    block_n_ = merge * group_n;
    block_depth_ =
        row_merged_ ? static_cast<int>(shape_.window.kernel[1]) * depth_ : merge * depth_;
    const size_t group_weights = static_cast<size_t>(group_n) * static_cast<size_t>(weights.taps) *
                                 static_cast<size_t>(depth_);
    blocks_.reserve(static_cast<size_t>(ceil_div(groups, merge)));
    for (int g = 0; g < groups; g += merge) {
      const int here = std::min(merge, groups - g);
      const GemmSize block{here * group_n, taps_, merge == 1 ? block_depth_ : here * depth_};
      const auto* source = weights.values.data() + static_cast<size_t>(g) * group_weights;
      std::vector<typename LayerWeights<T>::Element> diagonal;
      blocks_.push_back(weights.pack(block, g * group_n, context, [&] {
        if (merge == 1) return source;
        // Output channel c of group i reads only its own group's channels; all others weigh zero.
        const auto depth = static_cast<size_t>(block.depth);
        diagonal.resize(static_cast<size_t>(block.n) * static_cast<size_t>(taps_) * depth);
        for (int c = 0; c < block.n; ++c) {
          for (int t = 0; t < taps_; ++t) {
            const size_t row =
                static_cast<size_t>(c) * static_cast<size_t>(taps_) + static_cast<size_t>(t);
            std::copy_n(source + row * static_cast<size_t>(depth_), depth_,
                        diagonal.data() + row * depth + c / group_n * depth_);
          }
        }
        return static_cast<decltype(source)>(diagonal.data());
      }));
    }
  }

  ConvShape<T> shape_;
  Operand x_;
  int threads_;
  int depth_;  // input channels of one group
  T pad_value_;
  bool row_merged_ = false;
  int taps_ = 1, repeat_ = 1;
  int block_n_ = 0, block_depth_ = 0;
  std::vector<PackedGemm<T>> blocks_;
  AlignedBuffer pad_row_;
  std::optional<ZeroPoint> zero_point_;
  const accumulator_s32::Kernel* finisher_ = nullptr;
  std::vector<int32_t> channel_sums_;
};

template <typename T, typename Y>
class GemmConv<T, Y>::ConvPlan final : public Plan {
 public:
  ConvPlan(const GemmConv& op, const Shape& x, const Shape& y, size_t inputs,
           const FusedAdd& add = {}, int64_t row_stride = 0)
      : op_(op), add_(add), y_stride_(row_stride > 0 ? row_stride : y[3]) {
    const Window& window = op.shape_.window;
    images_ = y[0];
    rows_ = y[1] * y[2];
    x_image_ = Shape{x[1], x[2], x[3]}.elements();
    y_image_ = Shape{y[1], y[2], y_stride_}.elements();
    if (op.row_merged_) {
      plan_row_merged(x, y);
    } else if (window.is_pointwise() && op.repeat_ == 1) {
      rows_ *= images_;
      images_ = 1;
    } else {
      offsets_ = repeat_taps(build_offsets(window, x[1], x[2], x[3]),
                             static_cast<int>(window.taps()), op.repeat_);
    }
    for (const PackedGemm<T>& block : op.blocks_) {
      const size_t needed = block.scratch_bytes() * static_cast<size_t>(op.threads_);
      gemm_scratch_ = std::max(gemm_scratch_, needed);
    }
    if (op.zero_point_) {
      has_zero_point_ = inputs > 2;
      pad_row_bytes_ = round_up<size_t>(static_cast<size_t>(op.block_depth_) + kOverreadBytes, 64);
    }
    scratch_bytes = gemm_scratch_ + pad_row_bytes_ + padded_bytes_;
    macs = op.shape_.macs(y, op.depth_);
    kernel = op.blocks_[0].kernel_name();
    isa = op.blocks_[0].kernel_isa();
  }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
    const T* x = op_.x_.template as<T>(inputs[0]);
    Y* y = static_cast<Y*>(outputs[0]);
    char* const own = static_cast<char*>(context.scratch) + gemm_scratch_;
    T* padded = reinterpret_cast<T*>(own + pad_row_bytes_);
    const T* pad_row = op_.pad_row_.template as<T>();
    T pad_value = op_.pad_value_;
    if (op_.zero_point_) {
      pad_value = static_cast<T>(*op_.zero_point_->stored(has_zero_point_ ? inputs[2] : nullptr));
      T* filled = reinterpret_cast<T*>(own);
      std::fill_n(filled, pad_row_bytes_ / sizeof(T), pad_value);
      pad_row = filled;
    }
    for (int64_t image = 0; image < images_; ++image, x += x_image_, y += y_image_) {
      const T* base = x;
      if (padded_bytes_ != 0) {
        copy_padded(x, padded, pad_value, context.pool);
        base = padded;
      }
      for (size_t b = 0; b < op_.blocks_.size(); ++b) {
        Rows<T> rows;
        rows.base = base + b * static_cast<size_t>(op_.block_depth_);
        rows.stride = op_.shape_.in_channels;
        rows.offsets = offsets_.empty() ? nullptr : offsets_.data();
        rows.pad_row = pad_row;
        rows.taps = op_.taps_;
        rows.depth = op_.row_merged_ ? op_.block_depth_ : block_depth(b);
        if constexpr (std::is_same_v<Y, act_t>) {
          if (add_.input != 0) {
            Residual residual = add_.residual;
            residual.data = static_cast<const act_t*>(inputs[add_.input]) + image * y_image_ +
                            b * static_cast<size_t>(op_.block_n_);
            residual.stride = op_.shape_.out_channels;
            run_parallel(op_.blocks_[b], rows, y + b * static_cast<size_t>(op_.block_n_), y_stride_,
                         rows_, context.pool, context.scratch, residual);
            continue;
          }
        }
        run_parallel(op_.blocks_[b], rows, y + b * static_cast<size_t>(op_.block_n_), y_stride_,
                     rows_, context.pool, context.scratch);
      }
      if constexpr (std::is_same_v<Y, int32_t>) {
        if (op_.zero_point_) correct(y, static_cast<int32_t>(pad_value), context.pool);
      }
    }
  }

 private:
  void plan_row_merged(const Shape& x, const Shape& y) {
    const Window& window = op_.shape_.window;
    const int64_t channels = x[3];
    height_ = x[1];
    row_ = x[2] * channels;
    padded_height_ = height_;
    padded_row_ = row_;
    if (window.pads != std::array<int64_t, 4>{0, 0, 0, 0}) {
      padded_height_ = (y[1] - 1) * window.strides[0] + window.extent(0);
      padded_row_ = ((y[2] - 1) * window.strides[1] + window.extent(1)) * channels;
      const int64_t bytes =
          checked_mul(Shape{padded_height_, padded_row_}.elements(), sizeof(T), "a padded image");
      padded_bytes_ = static_cast<size_t>(bytes) + kOverreadBytes;
    }
    check_offset_range(padded_height_ * padded_row_);
    check_offset_count(rows_, op_.taps_);
    offsets_.reserve(static_cast<size_t>(rows_ * op_.taps_));
    for (int64_t oy = 0; oy < y[1]; ++oy) {
      for (int64_t ox = 0; ox < y[2]; ++ox) {
        for (int64_t ky = 0; ky < op_.taps_; ++ky) {
          const int64_t row = oy * window.strides[0] + ky * window.dilations[0];
          offsets_.push_back(
              static_cast<int32_t>(row * padded_row_ + ox * window.strides[1] * channels));
        }
      }
    }
  }

  // Input channels of block b.
  int block_depth(size_t b) const {
    const int64_t before = static_cast<int64_t>(b) * op_.block_depth_;
    return static_cast<int>(std::min<int64_t>(op_.block_depth_, op_.shape_.in_channels - before));
  }

  void correct(int32_t* y, int32_t zero_point, ThreadPool& pool) const {
    const int64_t n = op_.shape_.out_channels;
    pool.parallel_for(rows_, grain_for(0.1 * static_cast<double>(n)),
                      [&](int64_t begin, int64_t end, int) {
                        accumulator_s32::Correction acc;
                        acc.column_sums = op_.channel_sums_.data();
                        acc.zero_a = zero_point;
                        acc.n = n;
                        for (int64_t r = begin; r < end; ++r) {
                          acc.raw = y + r * n;
                          op_.finisher_->correct(acc, y + r * n);
                        }
                      });
  }

  void copy_padded(const T* x, T* padded, T pad_value, ThreadPool& pool) const {
    const Window& window = op_.shape_.window;
    const int64_t top = window.pads[0];
    const int64_t left = std::min(window.pads[1] * op_.shape_.in_channels, padded_row_);
    const int64_t copied = std::min(row_, padded_row_ - left);
    const int64_t grain = std::max<int64_t>(1, (1 << 15) / std::max<int64_t>(1, padded_row_));
    pool.parallel_for(padded_height_, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        T* to = padded + r * padded_row_;
        if (r < top || r - top >= height_) {
          std::fill_n(to, padded_row_, pad_value);
          continue;
        }
        std::fill_n(to, left, pad_value);
        std::memcpy(to + left, x + (r - top) * row_, static_cast<size_t>(copied) * sizeof(T));
        std::fill(to + left + copied, to + padded_row_, pad_value);
      }
    });
  }

  const GemmConv& op_;
  FusedAdd add_;
  int64_t y_stride_;  // between pixels; more than there are channels where y is part of a tensor
  int64_t images_ = 0, rows_ = 0, x_image_ = 0, y_image_ = 0;
  std::vector<int32_t> offsets_;
  // Row-merged form: rows of the image, and of its padded copy, in elements.
  int64_t height_ = 0, row_ = 0, padded_height_ = 0, padded_row_ = 0;
  size_t gemm_scratch_ = 0, padded_bytes_ = 0;
  // With a zero point of run time: the padding row, after the GEMM's scratch.
  size_t pad_row_bytes_ = 0;
  bool has_zero_point_ = false;
};

template <typename T, typename Y>
std::unique_ptr<Plan> GemmConv<T, Y>::plan(const std::vector<Shape>& inputs,
                                           const std::vector<Shape>& outputs) const {
  return std::make_unique<ConvPlan>(*this, inputs[0], outputs[0], inputs.size());
}

template <typename T, typename Y>
std::unique_ptr<Plan> GemmConv<T, Y>::plan_with_add(const std::vector<Shape>& inputs,
                                                    const std::vector<Shape>& outputs,
                                                    const FusedAdd& add) const {
  return std::make_unique<ConvPlan>(*this, inputs[0], outputs[0], inputs.size(), add);
}

template <typename T, typename Y>
std::unique_ptr<Plan> GemmConv<T, Y>::plan_with_stride(const std::vector<Shape>& inputs,
                                                       const std::vector<Shape>& outputs,
                                                       int64_t row_stride) const {
  if (zero_point_) return nullptr;  // corrected as a whole
  return std::make_unique<ConvPlan>(*this, inputs[0], outputs[0], inputs.size(), FusedAdd{},
                                    row_stride);
}

// -- depthwise form --------------------------------------------------------------------------

// The chosen kernel with its weights in the layout it wants.
class DepthwiseS8 {
 public:
  DepthwiseS8(const LayerWeights<act_t>& weights, const Window& window, const OpContext& context)
      : kernel_(depthwise_s8::select(problem(weights, window), context.isa)),
        packed_(context, kernel_.name, kernel_.packed_bytes(weights.taps, weights.n),
                [&](void* packed) { pack(weights, packed); }),
        clamp_(weights.clamp) {}

  // `grid` where takes_grid() says so; begin and end are then whole rows.
  void run(const Rows<act_t>& x, const depthwise_s8::Grid& grid, act_t* y, int64_t begin,
           int64_t end) const {
    depthwise_s8::RunArgs args;
    args.x = x;
    args.grid = &grid;
    args.packed = packed_.data();
    args.y = y;
    args.y_stride = x.depth;
    args.clamp = clamp_;
    args.pixel_begin = begin;
    args.pixel_end = end;
    kernel_.run(args);
  }

  // Weights [taps][channels].
  template <typename T>
  static void transpose(const LayerWeights<T>& weights, typename LayerWeights<T>::Element* by_tap) {
    const auto taps = static_cast<size_t>(weights.taps), n = static_cast<size_t>(weights.n);
    for (size_t c = 0; c < n; ++c) {
      for (size_t t = 0; t < taps; ++t) by_tap[t * n + c] = weights.values[c * taps + t];
    }
  }

  bool takes_grid() const { return kernel_.takes_grid; }
  const char* kernel_name() const { return kernel_.name; }
  Isa kernel_isa() const { return kernel_.isa; }
  size_t packed_bytes() const { return packed_.size(); }

 private:
  static depthwise_s8::Problem problem(const LayerWeights<act_t>& weights, const Window& window) {
    depthwise_s8::Problem problem;
    problem.taps = weights.taps;
    problem.channels = weights.n;
    if (weights.repeat == 1 && window.kernel[0] == window.kernel[1] &&
        window.strides[0] == window.strides[1] &&
        window.dilations == std::array<int64_t, 2>{1, 1}) {
      problem.side = static_cast<int>(window.kernel[0]);
      problem.stride = static_cast<int>(window.strides[0]);
    }
    return problem;
  }

  void pack(const LayerWeights<act_t>& weights, void* packed) const {
    std::vector<int8_t> by_tap(static_cast<size_t>(weights.taps) * static_cast<size_t>(weights.n));
    transpose(weights, by_tap.data());
    const std::vector<int32_t> bias =
        fold_bias(weights.values.data(), weights.n, weights.taps, weights.bias_s32.data(),
                  weights.pad_value, weights.name);
    depthwise_s8::PackArgs args;
    args.weights = by_tap.data();
    args.bias = bias.data();
    args.multiplier = weights.multiplier.data();
    args.taps = weights.taps;
    args.channels = weights.n;
    kernel_.pack(args, packed);
  }

  const depthwise_s8::Kernel& kernel_;
  PackedWeights packed_;
  OutputClamp clamp_;
};

class DepthwiseF32 {
 public:
  DepthwiseF32(const LayerWeights<float>& weights, const Window&, const OpContext& context)
      : kernel_(depthwise_f32::select(context.isa)),
        weights_(context, kernel_.name,
                 static_cast<size_t>(weights.taps) * static_cast<size_t>(weights.n) * sizeof(float),
                 [&](void* to) { DepthwiseS8::transpose(weights, static_cast<float*>(to)); }),
        bias_(weights.bias_f32),
        clip_(weights.clip) {}

  void run(const Rows<float>& x, const depthwise_s8::Grid&, float* y, int64_t begin,
           int64_t end) const {
    depthwise_f32::RunArgs args;
    args.x = x;
    args.weights = weights_.as<float>();
    args.bias = bias_.data();
    args.y = y;
    args.y_stride = x.depth;
    args.lo = clip_.lo;
    args.hi = clip_.hi;
    args.pixel_begin = begin;
    args.pixel_end = end;
    kernel_.run(args);
  }

  bool takes_grid() const { return false; }
  const char* kernel_name() const { return kernel_.name; }
  Isa kernel_isa() const { return kernel_.isa; }
  size_t packed_bytes() const { return weights_.size(); }

 private:
  const depthwise_f32::Kernel& kernel_;
  PackedWeights weights_;
  std::vector<float> bias_;
  FloatClip clip_;
};

template <typename T>
class DepthwiseConv final : public Op {
  using Kernel = std::conditional_t<std::is_same_v<T, float>, DepthwiseF32, DepthwiseS8>;

 public:
  DepthwiseConv(const NodeInfo& node, const LayerWeights<T>& weights, const OpContext& context)
      : shape_(node, weights),
        x_(node.input(0)),
        taps_(weights.taps),
        repeat_(weights.repeat),
        pad_value_(weights.pad_value),
        kernel_(weights, shape_.window, context) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return shape_.infer(inputs);
  }
  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    return std::make_unique<DepthwisePlan>(*this, inputs[0], outputs[0]);
  }
  size_t packed_bytes() const override { return x_.bytes() + kernel_.packed_bytes(); }

 private:
  class DepthwisePlan final : public Plan {
   public:
    DepthwisePlan(const DepthwiseConv& op, const Shape& x, const Shape& y)
        : op_(op),
          images_(y[0]),
          pixels_(y[1] * y[2]),
          x_image_(Shape{x[1], x[2], x[3]}.elements()),
          y_image_(Shape{y[1], y[2], y[3]}.elements()) {
      const Window& window = op.shape_.window;
      if (op.kernel_.takes_grid()) {
        check_offset_range(x_image_);
        // Kernels count rows and columns in int, those of padding as well, and round them up.
        constexpr int64_t kSlack = 1024;
        for (size_t axis = 0; axis < 2; ++axis) {
          const int64_t pads = window.pads[axis] + window.pads[axis + 2];
          check_offset_range(
              checked_add(x[static_cast<int>(axis) + 1], pads + kSlack, "a padded image"));
        }
        grid_.height = static_cast<int>(x[1]);
        grid_.width = static_cast<int>(x[2]);
        grid_.out_width = static_cast<int>(y[2]);
        grid_.pad_top = static_cast<int>(window.pads[0]);
        grid_.pad_left = static_cast<int>(window.pads[1]);
        unit_ = y[2];
        padding_ = filled_buffer<T>(x[2] * x[3], op.pad_value_);
      } else {
        offsets_ = repeat_taps(build_offsets(window, x[1], x[2], x[3]),
                               static_cast<int>(window.taps()), op.repeat_);
        padding_ = filled_buffer<T>(x[3], op.pad_value_);
      }
      macs = op.shape_.macs(y, 1);
      kernel = op.kernel_.kernel_name();
      isa = op.kernel_.kernel_isa();
    }

    void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
      Rows<T> rows;
      rows.base = op_.x_.template as<T>(inputs[0]);
      rows.offsets = offsets_.data();
      rows.pad_row = padding_.template as<T>();
      rows.taps = op_.taps_;
      rows.depth = static_cast<int>(op_.shape_.out_channels);
      T* y = static_cast<T*>(outputs[0]);
      const int64_t unit_macs = unit_ * rows.taps * rows.depth;
      const int64_t grain =
          std::max<int64_t>(1, kMacsPerPart / 4 / std::max<int64_t>(1, unit_macs));
      for (int64_t image = 0; image < images_; ++image, rows.base += x_image_, y += y_image_) {
        context.pool.parallel_for(pixels_ / unit_, grain, [&](int64_t begin, int64_t end, int) {
          op_.kernel_.run(rows, grid_, y, begin * unit_, end * unit_);
        });
      }
    }

   private:
    const DepthwiseConv& op_;
    int64_t images_, pixels_, x_image_, y_image_;
    int64_t unit_ = 1;              // pixels that are not divided between threads
    std::vector<int32_t> offsets_;  // unless the kernel takes the grid
    depthwise_s8::Grid grid_;
    AlignedBuffer padding_;
  };

  ConvShape<T> shape_;
  Operand x_;
  int taps_, repeat_;
  T pad_value_;
  Kernel kernel_;
};

}  // namespace

std::unique_ptr<Op> make_conv2d(const NodeInfo& node, const OpContext& context) {
  return make_by_precision(node, [&](auto element) -> std::unique_ptr<Op> {
    using T = decltype(element);
    const LayerWeights<T> weights = read_layer_weights<T>(node);
    if constexpr (!std::is_same_v<T, float>) {
      if (node.output().dtype == DType::s32) {
        return std::make_unique<GemmConv<T, int32_t>>(node, weights, context);
      }
    }
    if (weights.depth == 1 && weights.n == node.attributes.get_int("groups", 1)) {
      return std::make_unique<DepthwiseConv<T>>(node, weights, context);
    }
    if constexpr (!std::is_same_v<T, float>) {
      if (auto op = make_few_channels_conv(node, weights, context)) return op;
      if (auto op = make_winograd_conv(node, weights, context)) return op;
    }
    return std::make_unique<GemmConv<T>>(node, weights, context);
  });
}

std::unique_ptr<Op> make_conv_integer(const NodeInfo& node, const OpContext& context) {
  expect_inputs(node, 2, 4);
  expect_outputs(node, 1);
  expect_dtype(node.input(0), DType::s8);
  expect_dtype(node.output(), DType::s32);
  expect_no_activation(node);
  return std::make_unique<GemmConv<act_t, int32_t>>(node, read_integer_layer_weights(node), context,
                                                    true);
}

}  // namespace zeropoint
