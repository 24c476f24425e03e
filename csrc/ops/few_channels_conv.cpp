// A GEMM whose rows overlap: each row is a whole window, kw groups of kh * C bytes, one run of K.
//
// For a row of output pixels, the strip holds for each input column (padding included) the bytes
// under the window's kh rows side by side: a window is then contiguous, and the next one starts
// `stride` groups later. K is padded to whole steps once, not once a kernel row: 148 bytes instead
// of 168 for a kernel of 7x7x3.
//
// The strip of the next output row is the same memory, read sh * C bytes later: what was row sh of
// each group has become row 0, and only the last sh rows of each group are written anew, over rows
// that the group behind no longer needs. A band of output rows goes by like this, then the strip
// starts again at the beginning of its memory, so that it stays in the first-level cache.
#include "ops/few_channels_conv.h"

#include <algorithm>
#include <cstring>

#include "ops/conv_shape.h"
#include "ops/fused.h"
#include "ops/operand.h"
#include "ops/window.h"

namespace zeropoint {
namespace {

constexpr int kMostChannels = 15;
constexpr int64_t kMostWeights = 4096;  // of a window
constexpr int64_t kBandRows = 16;
// Of products saved a window: building the strip costs about half as much. Where rows would be
// copied before they are multiplied, as on AVX2, that is saved as well.
constexpr int64_t kLeastSaving = 512, kLeastSavingAvx2 = 256;

// to[i * group] = from[i] for `columns` pixels of kChannels bytes, or `channels` if that is 0.
template <int kChannels>
void scatter(const act_t* from, int64_t columns, int64_t group, int channels, act_t* to) {
  const auto bytes = static_cast<size_t>(kChannels != 0 ? kChannels : channels);
  for (int64_t i = 0; i < columns; ++i, from += bytes, to += group) {
    std::memcpy(to, from, kChannels != 0 ? size_t{kChannels} : bytes);
  }
}

void scatter(const act_t* from, int64_t columns, int64_t group, int channels, act_t* to) {
  switch (channels) {
    case 1:
      return scatter<1>(from, columns, group, channels, to);
    case 2:
      return scatter<2>(from, columns, group, channels, to);
    case 3:
      return scatter<3>(from, columns, group, channels, to);
    default:
      return scatter<0>(from, columns, group, channels, to);
  }
}

class FewChannelsConv final : public Op {
 public:
  FewChannelsConv(const NodeInfo& node, const ConvShape<act_t>& shape,
                  const LayerWeights<act_t>& weights, const OpContext& context)
      : shape_(shape),
        x_(node.input(0)),
        threads_(context.threads),
        channels_(weights.depth),
        pad_value_(weights.pad_value),
        gemm_(pack(shape.window, weights, context)) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return shape_.infer(inputs);
  }
  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    return std::make_unique<StripPlan>(*this, inputs[0], outputs[0], FusedAdd{});
  }
  std::unique_ptr<Plan> plan_with_add(const std::vector<Shape>& inputs,
                                      const std::vector<Shape>& outputs,
                                      const FusedAdd& add) const override {
    return std::make_unique<StripPlan>(*this, inputs[0], outputs[0], add);
  }
  size_t packed_bytes() const override { return x_.bytes() + gemm_.packed_bytes(); }

 private:
  // [n][kh][kw][c] -> [n][kw][kh][c]
  static PackedGemm<act_t> pack(const Window& window, const LayerWeights<act_t>& weights,
                                const OpContext& context) {
    const auto height = static_cast<size_t>(window.kernel[0]);
    const auto width = static_cast<size_t>(window.kernel[1]);
    const auto channels = static_cast<size_t>(weights.depth);
    const GemmSize size{weights.n, 1, weights.taps * weights.depth};
    std::vector<int8_t> turned;
    return weights.pack(size, 0, context, [&] {
      turned.resize(static_cast<size_t>(weights.n) * height * width * channels);
      const int8_t* from = weights.values.data();
      for (size_t n = 0; n < static_cast<size_t>(weights.n); ++n) {
        for (size_t ky = 0; ky < height; ++ky) {
          for (size_t kx = 0; kx < width; ++kx, from += channels) {
            std::copy_n(from, channels,
                        turned.data() + ((n * width + kx) * height + ky) * channels);
          }
        }
      }
      return static_cast<const int8_t*>(turned.data());
    });
  }

  class StripPlan final : public Plan {
   public:
    StripPlan(const FewChannelsConv& op, const Shape& x, const Shape& y, const FusedAdd& add)
        : op_(op),
          add_(add),
          images_(y[0]),
          height_(x[1]),
          width_(x[2]),
          out_height_(y[1]),
          out_width_(y[2]) {
      check_offset_range(Shape{height_, width_, op.channels_}.elements());
      const Window& window = op.shape_.window;
      group_ = window.kernel[0] * op.channels_;
      columns_ = (out_width_ - 1) * window.strides[1] + window.kernel[1];
      left_ = std::min(window.pads[1], columns_);
      inside_ = std::min(width_, columns_ - left_);
      slides_ = window.strides[0] < window.kernel[0];
      const int64_t slack = slides_ ? kBandRows * window.strides[0] * op.channels_ : 0;
      const int64_t bytes = checked_add(checked_mul(columns_, group_, "a strip of columns"), slack,
                                        "a strip of columns");
      gemm_bytes_ = round_up<size_t>(op.gemm_.scratch_bytes(), 64);
      slot_bytes_ = gemm_bytes_ + round_up<size_t>(static_cast<size_t>(bytes) + kOverreadBytes, 64);
      padding_ = filled_buffer<act_t>(
          std::max(left_, columns_ - left_ - inside_) * op.channels_ + width_ * op.channels_,
          op.pad_value_);
      scratch_bytes = slot_bytes_ * static_cast<size_t>(op.threads_);
      macs = op.shape_.macs(y, op.channels_);
      kernel = op.gemm_.kernel_name();
      isa = op.gemm_.kernel_isa();
    }

    void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
      const act_t* x = op_.x_.as<act_t>(inputs[0]);
      act_t* y = static_cast<act_t*>(outputs[0]);
      const int64_t n = op_.shape_.out_channels;
      const int64_t row_macs = std::max<int64_t>(1, macs / (images_ * out_height_));
      const int64_t grain = std::max<int64_t>(1, kMacsPerPart / row_macs);
      for (int64_t image = 0; image < images_; ++image) {
        const act_t* residual = nullptr;
        if (add_.input != 0) {
          residual =
              static_cast<const act_t*>(inputs[add_.input]) + image * out_height_ * out_width_ * n;
        }
        const auto run = [&](int64_t begin, int64_t end, int slot) {
          char* own = static_cast<char*>(context.scratch) + static_cast<size_t>(slot) * slot_bytes_;
          run_rows(x, y, residual, begin, end, own);
        };
        context.pool.parallel_pieces(out_height_, grain, std::max(grain, kBandRows), run);
        x += height_ * width_ * op_.channels_;
        y += out_height_ * out_width_ * n;
      }
    }

   private:
    void run_rows(const act_t* x, act_t* y, const act_t* residual, int64_t begin, int64_t end,
                  char* scratch) const {
      const Window& window = op_.shape_.window;
      const int64_t n = op_.shape_.out_channels;
      const int64_t band = slides_ ? kBandRows : 1;
      act_t* const strip = reinterpret_cast<act_t*>(scratch + gemm_bytes_);
      Residual added = add_.residual;
      Rows<act_t> rows;
      rows.stride = window.strides[1] * group_;
      rows.taps = 1;
      rows.depth = static_cast<int>(window.kernel[1] * group_);
      for (int64_t oy = begin; oy < end; ++oy) {
        const int64_t place = (oy - begin) % band;
        act_t* const base = strip + place * window.strides[0] * op_.channels_;
        const int64_t first = place == 0 ? 0 : window.kernel[0] - window.strides[0];
        for (int64_t ky = first; ky < window.kernel[0]; ++ky) {
          write_row(x, oy * window.strides[0] - window.pads[0] + ky, base + ky * op_.channels_);
        }
        rows.base = base;
        if (residual != nullptr) {
          added.data = residual + oy * out_width_ * n;
          added.stride = n;
        }
        op_.gemm_.run(rows, y + oy * out_width_ * n, n, 0, out_width_, 0, static_cast<int>(n),
                      scratch, added);
      }
    }

    // Row iy of the image, or padding, as one row of each group.
    void write_row(const act_t* x, int64_t iy, act_t* to) const {
      const int channels = op_.channels_;
      const act_t* const padding = padding_.as<act_t>();
      const bool inside = iy >= 0 && iy < height_;
      scatter(padding, left_, group_, channels, to);
      to += left_ * group_;
      scatter(inside ? x + iy * width_ * channels : padding, inside_, group_, channels, to);
      to += inside_ * group_;
      scatter(padding, columns_ - left_ - inside_, group_, channels, to);
    }

    const FewChannelsConv& op_;
    FusedAdd add_;
    int64_t images_, height_, width_, out_height_, out_width_;
    int64_t group_ = 0;    // bytes of a column under a window
    int64_t columns_ = 0;  // of a strip: padding on the left, the image's, padding on the right
    int64_t left_ = 0, inside_ = 0;
    bool slides_ = false;  // do windows of neighbouring output rows share input rows?
    size_t gemm_bytes_ = 0, slot_bytes_ = 0;
    AlignedBuffer padding_;
  };

  ConvShape<act_t> shape_;
  Operand x_;
  int threads_;
  int channels_;
  act_t pad_value_;
  PackedGemm<act_t> gemm_;
};

}  // namespace

std::unique_ptr<Op> make_few_channels_conv(const NodeInfo& node, const LayerWeights<act_t>& weights,
                                           const OpContext& context) {
  const ConvShape<act_t> shape(node, weights);
  const Window& window = shape.window;
  const int64_t row = window.kernel[1] * weights.depth;
  const int64_t by_rows = window.kernel[0] * round_up<int64_t>(row, 4);
  const int64_t whole = round_up<int64_t>(window.kernel[0] * row, 4);
  const Isa isa = gemm_s8::select({0, weights.n, 1, weights.taps * weights.depth}, context.isa).isa;
  const int64_t least = isa == Isa::avx2 ? kLeastSavingAvx2 : kLeastSaving;
  const bool fits = shape.groups == 1 && weights.repeat == 1 && weights.depth <= kMostChannels &&
                    window.dilations == std::array<int64_t, 2>{1, 1} && whole <= kMostWeights &&
                    (by_rows - whole) * weights.n >= least;
  if (!fits) return nullptr;
  return std::make_unique<FewChannelsConv>(node, shape, weights, context);
}

}  // namespace zeropoint
