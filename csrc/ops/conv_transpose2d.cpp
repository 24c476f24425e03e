// conv_transpose2d as stride_y * stride_x ordinary convolutions.
//
//   y[oy, ox, o] = bias[o] + sum over (ky, kx, i) of w[o, ky, kx, i] * x[iy, ix, i]
//   where oy = iy * stride + ky * dilation - pad
//
// All output pixels with the same (oy + pad) mod stride, a phase, use the same subset of the taps,
// in ascending order of (ky, kx). Each phase is a GEMM over that subset with an offset table of its
// own; its rows are then scattered to every stride-th pixel.

#include <algorithm>
#include <cstring>
#include <memory>

#include "ops/factories.h"
#include "ops/layer_weights.h"
#include "ops/operand.h"
#include "ops/window.h"

namespace zeropoint {
namespace {

template <typename T>
class ConvTranspose final : public Op {
 public:
  ConvTranspose(const NodeInfo& node, const OpContext& context)
      : x_(node.input(0)), threads_(context.threads) {
    const LayerWeights<T> weights = read_layer_weights<T>(node);
    const Shape& w = node.input(1).shape;
    if (w.rank() != 4) {
      throw Error(ErrorCode::invalid_model,
                  "weights must be [O, kh, kw, I / groups], found " + w.to_string());
    }
    window_ = read_window(node.attributes, w[1], w[2]);
    groups_ = node.attributes.get_int("groups", 1);
    if (groups_ < 1 || w[0] % groups_ != 0) {
      throw Error(ErrorCode::invalid_model, std::to_string(groups_) + " groups do not divide " +
                                                std::to_string(w[0]) + " output channels");
    }
    const std::vector<int64_t> extra = node.attributes.get_ints("output_padding", {0, 0});
    if (extra.size() != 2 || extra[0] < 0 || extra[1] < 0 || extra[0] > kMaxWindowAttribute ||
        extra[1] > kMaxWindowAttribute) {
      throw Error(ErrorCode::invalid_model, "output_padding must be two sizes of 0 or more");
    }
    output_padding_ = {extra[0], extra[1]};
    out_channels_ = weights.n;
    depth_ = weights.depth;
    repeat_ = weights.repeat;
    in_channels_ = checked_mul(depth_, groups_, "the input's channel count");
    pad_row_ = filled_buffer<T>(depth_, weights.pad_value);
    make_phases(weights, context);
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    const Shape& x = inputs.at(0);
    if (x.rank() != 4 || x[3] != in_channels_) {
      throw Error(
          ErrorCode::invalid_argument,
          "input must be [N, H, W, " + std::to_string(in_channels_) + "], found " + x.to_string());
    }
    return {Shape{x[0], output_pixels(0, x[1]), output_pixels(1, x[2]), out_channels_}};
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override;

  size_t packed_bytes() const override { return x_.bytes() + packed_bytes_; }

 private:
  class TransposePlan;

  struct Tap {
    int64_t ky, kx;
  };
  using Groups = std::vector<PackedGemm<T>>;
  // The output pixels (y0 + j * stride, x0 + i * stride) and the taps that reach them. Phases that
  // no tap reaches (a stride above the kernel) share one packing, of a single weight 0 an output
  // channel, which meets padding.
  struct Phase {
    int64_t y0, x0;
    std::vector<Tap> taps;
    std::shared_ptr<const Groups> groups;

    int gemm_taps(int repeat) const {
      return taps.empty() ? 1 : static_cast<int>(taps.size()) * repeat;
    }
    int gemm_depth(int depth) const { return taps.empty() ? 1 : depth; }
  };

  int64_t output_pixels(int axis, int64_t size) const {
    const auto a = static_cast<size_t>(axis);
    if (size < 1) throw Error(ErrorCode::invalid_argument, "input has an empty spatial axis");
    const int64_t whole = checked_mul(size - 1, window_.strides[a], "the output's size") +
                          window_.extent(axis) + output_padding_[a];
    const int64_t pixels = whole - window_.pads[a] - window_.pads[a + 2];
    if (pixels < 1) {
      throw Error(ErrorCode::invalid_argument,
                  "pads leave no output for an input of " + std::to_string(size) + " pixels");
    }
    return pixels;
  }

  // The taps along one axis that reach output positions o with o mod stride == phase, by phase.
  std::vector<std::vector<int64_t>> axis_taps(size_t a) const {
    const int64_t stride = window_.strides[a];
    std::vector<std::vector<int64_t>> taps(static_cast<size_t>(stride));
    for (int64_t k = 0; k < window_.kernel[a]; ++k) {
      const int64_t remainder = (k * window_.dilations[a] - window_.pads[a]) % stride;
      taps[static_cast<size_t>(remainder < 0 ? remainder + stride : remainder)].push_back(k);
    }
    return taps;
  }

  void make_phases(const LayerWeights<T>& weights, const OpContext& context) {
    if (window_.strides[0] * window_.strides[1] > (1 << 12)) {
      throw Error(ErrorCode::unsupported, "a stride of " + std::to_string(window_.strides[0]) +
                                              " x " + std::to_string(window_.strides[1]) +
                                              " is too large for a transposed convolution");
    }
    const auto vertical = axis_taps(0), horizontal = axis_taps(1);
    std::shared_ptr<const Groups> without_taps;
    for (int64_t y0 = 0; y0 < window_.strides[0]; ++y0) {
      for (int64_t x0 = 0; x0 < window_.strides[1]; ++x0) {
        Phase phase{y0, x0, {}, nullptr};
        for (int64_t ky : vertical[static_cast<size_t>(y0)]) {
          for (int64_t kx : horizontal[static_cast<size_t>(x0)]) phase.taps.push_back({ky, kx});
        }
        if (!phase.taps.empty()) {
          phase.groups = pack_groups(weights, phase, context);
        } else {
          if (without_taps == nullptr) without_taps = pack_groups(weights, phase, context);
          phase.groups = without_taps;
        }
        phases_.push_back(std::move(phase));
      }
    }
  }

  std::shared_ptr<const Groups> pack_groups(const LayerWeights<T>& weights, const Phase& phase,
                                            const OpContext& context) {
    using Element = typename LayerWeights<T>::Element;
    const int group_n = static_cast<int>(out_channels_ / groups_);
    const int taps = phase.gemm_taps(repeat_), depth = phase.gemm_depth(depth_);
    const size_t count =
        static_cast<size_t>(group_n) * static_cast<size_t>(taps) * static_cast<size_t>(depth);
    auto groups = std::make_shared<Groups>();
    groups->reserve(static_cast<size_t>(groups_));
    std::vector<Element> subset;
    for (int g = 0; g < groups_; ++g) {
      const int first = g * group_n;
      groups->push_back(weights.pack({group_n, taps, depth}, first, context, [&] {
        subset.clear();
        for (int64_t n = first; n < int64_t{first} + group_n; ++n) {
          for (int r = 0; r < repeat_; ++r) {
            for (const Tap& tap : phase.taps) {
              const int64_t t = r * window_.taps() + tap.ky * window_.kernel[1] + tap.kx;
              const auto* run = weights.values.data() + (n * weights.taps + t) * depth_;
              subset.insert(subset.end(), run, run + depth_);
            }
          }
        }
        // Without taps: adding -0 leaves every bias as it is, a float32 -0 too.
        subset.resize(count, static_cast<Element>(-0.0f));
        return subset.data();
      }));
      packed_bytes_ += groups->back().packed_bytes();
    }
    return groups;
  }

  Operand x_;
  int threads_;
  Window window_;
  std::array<int64_t, 2> output_padding_{};
  int64_t groups_ = 1, in_channels_ = 0, out_channels_ = 0;
  int depth_ = 0, repeat_ = 1;
  AlignedBuffer pad_row_;
  std::vector<Phase> phases_;
  size_t packed_bytes_ = 0;
};

template <typename T>
class ConvTranspose<T>::TransposePlan final : public Plan {
 public:
  TransposePlan(const ConvTranspose& op, const Shape& x, const Shape& y)
      : op_(op), images_(y[0]), width_(y[2]) {
    x_image_ = Shape{x[1], x[2], x[3]}.elements();
    y_image_ = Shape{y[1], y[2], y[3]}.elements();
    check_offset_range(x_image_);
    int64_t largest = 0, table = 0;
    for (const Phase& phase : op.phases_) {
      Grid grid;
      grid.rows = y[1] > phase.y0 ? ceil_div(y[1] - phase.y0, op.window_.strides[0]) : 0;
      grid.columns = y[2] > phase.x0 ? ceil_div(y[2] - phase.x0, op.window_.strides[1]) : 0;
      const int64_t pixels = checked_mul(grid.rows, grid.columns, "the output's size");
      table += checked_mul(pixels, phase.gemm_taps(op.repeat_), "an offset table");
      if (table > kMaxOffsets) {
        throw Error(ErrorCode::unsupported, "the output is too large for an offset table");
      }
      grids_.push_back(std::move(grid));
      largest = std::max(largest, pixels);
      macs +=
          y[0] * pixels * static_cast<int64_t>(phase.taps.size()) * op.depth_ * op.out_channels_;
    }
    for (size_t p = 0; p < grids_.size(); ++p) {  // the size of all tables is known to be fine
      grids_[p].offsets = phase_offsets(op.phases_[p], grids_[p], x);
    }
    for (const Phase& phase : op.phases_) {
      gemm_scratch_ = std::max(gemm_scratch_, (*phase.groups)[0].scratch_bytes());
    }
    gemm_scratch_ *= static_cast<size_t>(op.threads_);
    const int64_t rows = checked_mul(largest, op.out_channels_, "the output's size");
    scratch_bytes = gemm_scratch_ + static_cast<size_t>(rows) * sizeof(T) + kOverreadBytes;
    kernel = (*op.phases_[0].groups)[0].kernel_name();
    isa = (*op.phases_[0].groups)[0].kernel_isa();
  }

  void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
    T* dense = reinterpret_cast<T*>(static_cast<char*>(context.scratch) + gemm_scratch_);
    for (int64_t image = 0; image < images_; ++image) {
      const T* x = op_.x_.template as<T>(inputs[0]) + image * x_image_;
      T* y = static_cast<T*>(outputs[0]) + image * y_image_;
      for (size_t p = 0; p < grids_.size(); ++p) {
        const int64_t pixels = grids_[p].rows * grids_[p].columns;
        if (pixels == 0) continue;
        const bool whole = grids_.size() == 1;  // stride 1: rows are the output's own
        run_phase(op_.phases_[p], grids_[p], x, whole ? y : dense, pixels, context);
        if (!whole) scatter(op_.phases_[p], grids_[p], dense, y, context.pool);
      }
    }
  }

 private:
  struct Grid {
    int64_t rows = 0, columns = 0;
    std::vector<int32_t> offsets;
  };

  std::vector<int32_t> phase_offsets(const Phase& phase, const Grid& grid, const Shape& x) const {
    const Window& w = op_.window_;
    std::vector<int32_t> offsets;
    for (int64_t j = 0; j < grid.rows; ++j) {
      for (int64_t i = 0; i < grid.columns; ++i) {
        const int64_t oy = phase.y0 + j * w.strides[0], ox = phase.x0 + i * w.strides[1];
        if (phase.taps.empty()) offsets.push_back(kPaddingOffset);
        for (int r = 0; r < op_.repeat_; ++r) {
          for (const Tap& tap : phase.taps) {
            const int64_t ny = oy + w.pads[0] - tap.ky * w.dilations[0];
            const int64_t nx = ox + w.pads[1] - tap.kx * w.dilations[1];
            const int64_t iy = ny / w.strides[0], ix = nx / w.strides[1];  // exact by the phase
            const bool inside = ny >= 0 && nx >= 0 && iy < x[1] && ix < x[2];
            offsets.push_back(inside ? static_cast<int32_t>((iy * x[2] + ix) * x[3])
                                     : kPaddingOffset);
          }
        }
      }
    }
    return offsets;
  }

  void run_phase(const Phase& phase, const Grid& grid, const T* x, T* c, int64_t pixels,
                 RunContext& context) const {
    const int64_t group_n = op_.out_channels_ / op_.groups_;
    for (size_t g = 0; g < phase.groups->size(); ++g) {
      Rows<T> rows;
      rows.base = x + static_cast<int64_t>(g) * op_.depth_;
      rows.offsets = grid.offsets.data();
      rows.pad_row = op_.pad_row_.template as<T>();
      rows.taps = phase.gemm_taps(op_.repeat_);
      rows.depth = phase.gemm_depth(op_.depth_);
      run_parallel((*phase.groups)[g], rows, c + static_cast<int64_t>(g) * group_n,
                   op_.out_channels_, pixels, context.pool, context.scratch);
    }
  }

  void scatter(const Phase& phase, const Grid& grid, const T* dense, T* y, ThreadPool& pool) const {
    const int64_t channels = op_.out_channels_;
    const int64_t grain = std::max<int64_t>(1, (1 << 16) / (grid.columns * channels));
    pool.parallel_for(grid.rows, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t j = begin; j < end; ++j) {
        const T* from = dense + j * grid.columns * channels;
        T* to = y + ((phase.y0 + j * op_.window_.strides[0]) * width_ + phase.x0) * channels;
        for (int64_t i = 0; i < grid.columns; ++i) {
          std::memcpy(to, from, static_cast<size_t>(channels) * sizeof(T));
          from += channels;
          to += op_.window_.strides[1] * channels;
        }
      }
    });
  }

  const ConvTranspose& op_;
  int64_t images_, width_, x_image_ = 0, y_image_ = 0;
  std::vector<Grid> grids_;
  size_t gemm_scratch_ = 0;
};

template <typename T>
std::unique_ptr<Plan> ConvTranspose<T>::plan(const std::vector<Shape>& inputs,
                                             const std::vector<Shape>& outputs) const {
  return std::make_unique<TransposePlan>(*this, inputs[0], outputs[0]);
}

}  // namespace

std::unique_ptr<Op> make_conv_transpose2d(const NodeInfo& node, const OpContext& context) {
  return make_by_precision(node, [&](auto element) -> std::unique_ptr<Op> {
    return std::make_unique<ConvTranspose<decltype(element)>>(node, context);
  });
}

}  // namespace zeropoint
