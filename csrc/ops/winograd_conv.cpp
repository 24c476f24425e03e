#include "ops/winograd_conv.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "kernels/winograd_s8/winograd_s8.h"
#include "ops/conv_shape.h"
#include "ops/fused.h"
#include "ops/operand.h"

namespace zeropoint {
namespace {

// Each piece of the work reads all the weights.
constexpr int64_t kPiecePixels = 192;

// The largest sum of |w| over the weights of a column.
int64_t largest_magnitude(const LayerWeights<act_t>& weights) {
  const size_t window = 9 * static_cast<size_t>(weights.depth);
  const int8_t* w = weights.values.data();
  int64_t largest = 0;
  for (int n = 0; n < weights.n; ++n, w += window) {
    const auto add = [](int64_t sum, int8_t value) { return sum + std::abs(int{value}); };
    largest = std::max(largest, std::accumulate(w, w + window, int64_t{0}, add));
  }
  return largest;
}

class WinogradConv final : public Op {
 public:
  WinogradConv(const NodeInfo& node, const ConvShape<act_t>& shape,
               const LayerWeights<act_t>& weights, const winograd_s8::Kernel& kernel,
               const OpContext& context)
      : shape_(shape),
        x_(node.input(0)),
        threads_(context.threads),
        depth_(weights.depth),
        clamp_(weights.clamp),
        padding_(filled_buffer<act_t>(weights.depth, weights.pad_value)),
        kernel_(kernel),
        packed_(context, kernel.name, kernel.packed_bytes(weights.n, weights.depth),
                [&](void* packed) { pack(weights, kernel, packed); }) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return shape_.infer(inputs);
  }
  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    return std::make_unique<TilePlan>(*this, inputs[0], outputs[0], FusedAdd{}, outputs[0][3]);
  }
  std::unique_ptr<Plan> plan_with_add(const std::vector<Shape>& inputs,
                                      const std::vector<Shape>& outputs,
                                      const FusedAdd& add) const override {
    return std::make_unique<TilePlan>(*this, inputs[0], outputs[0], add, outputs[0][3]);
  }
  std::unique_ptr<Plan> plan_with_stride(const std::vector<Shape>& inputs,
                                         const std::vector<Shape>& outputs,
                                         int64_t row_stride) const override {
    return std::make_unique<TilePlan>(*this, inputs[0], outputs[0], FusedAdd{}, row_stride);
  }
  size_t packed_bytes() const override { return x_.bytes() + packed_.size(); }

 private:
  static void pack(const LayerWeights<act_t>& weights, const winograd_s8::Kernel& kernel,
                   void* packed) {
    winograd_s8::PackArgs args;
    args.weights = weights.values.data();
    const std::vector<int32_t> bias =
        fold_bias(args.weights, weights.n, int64_t{weights.taps} * weights.depth,
                  weights.bias_s32.data(), weights.pad_value, weights.name);
    args.bias = bias.data();
    args.multiplier = weights.multiplier.data();
    args.n = weights.n;
    args.depth = weights.depth;
    kernel.pack(args, packed);
  }

  class TilePlan final : public Plan {
   public:
    TilePlan(const WinogradConv& op, const Shape& x, const Shape& y, const FusedAdd& add,
             int64_t y_stride)
        : op_(op),
          add_(add),
          images_(y[0]),
          x_image_(Shape{x[1], x[2], x[3]}.elements()),
          pixels_(Shape{y[1], y[2]}.elements()),
          y_stride_(y_stride) {
      check_offset_range(x_image_);
      check_offset_range(pixels_);
      const Window& window = op.shape_.window;
      image_.height = static_cast<int>(x[1]);
      image_.width = static_cast<int>(x[2]);
      image_.out_height = static_cast<int>(y[1]);
      image_.out_width = static_cast<int>(y[2]);
      image_.pad_top = static_cast<int>(window.pads[0]);
      image_.pad_left = static_cast<int>(window.pads[1]);
      slot_bytes_ = round_up<size_t>(op.kernel_.scratch_bytes(op.depth_), 64);
      scratch_bytes = slot_bytes_ * static_cast<size_t>(op.threads_);
      macs = op.shape_.macs(y, op.depth_);
      kernel = op.kernel_.name;
      isa = op.kernel_.isa;
    }

    void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
      winograd_s8::RunArgs args;
      args.x = op_.x_.as<act_t>(inputs[0]);
      args.pad = op_.padding_.as<act_t>();
      args.image = image_;
      args.depth = op_.depth_;
      args.packed = op_.packed_.data();
      args.n = static_cast<int>(op_.shape_.out_channels);
      args.c = static_cast<act_t*>(outputs[0]);
      args.c_stride = y_stride_;
      args.clamp = op_.clamp_;
      if (add_.input != 0) {
        args.residual = add_.residual;
        args.residual.data = static_cast<const act_t*>(inputs[add_.input]);
        args.residual.stride = args.n;
      }
      const int tile = op_.kernel_.tile;
      const int64_t tile_macs = int64_t{tile + 2} * (tile + 2) * args.depth * args.n;
      const int64_t least = kPiecePixels / (int64_t{tile} * tile);
      const int64_t grain = std::max<int64_t>(1, kMacsPerPart / tile_macs);
      for (int64_t image = 0; image < images_; ++image) {
        const auto run = [&](int64_t begin, int64_t end, int slot) {
          winograd_s8::RunArgs own = args;
          own.tile_begin = begin;
          own.tile_end = end;
          own.scratch =
              static_cast<char*>(context.scratch) + static_cast<size_t>(slot) * slot_bytes_;
          op_.kernel_.run(own);
        };
        context.pool.parallel_pieces(image_.tiles(tile), grain, std::max(grain, least), run);
        args.x += x_image_;
        args.c += pixels_ * y_stride_;
        if (args.residual.data != nullptr) args.residual.data += pixels_ * args.residual.stride;
      }
    }

   private:
    const WinogradConv& op_;
    FusedAdd add_;
    int64_t images_, x_image_, pixels_, y_stride_;
    winograd_s8::Image image_;
    size_t slot_bytes_ = 0;
  };

  ConvShape<act_t> shape_;
  Operand x_;
  int threads_;
  int depth_;
  OutputClamp clamp_;
  AlignedBuffer padding_;
  const winograd_s8::Kernel& kernel_;
  PackedWeights packed_;
};

}  // namespace

std::unique_ptr<Op> make_winograd_conv(const NodeInfo& node, const LayerWeights<act_t>& weights,
                                       const OpContext& context) {
  const ConvShape<act_t> shape(node, weights);
  const Window& window = shape.window;
  if (shape.groups != 1 || weights.repeat != 1 || window.kernel != std::array<int64_t, 2>{3, 3} ||
      window.strides != std::array<int64_t, 2>{1, 1} ||
      window.dilations != std::array<int64_t, 2>{1, 1}) {
    return nullptr;
  }
  winograd_s8::Problem problem;
  problem.n = weights.n;
  problem.depth = weights.depth;
  const Shape& y = node.output().shape;
  if (y.rank() == 4) {
    problem.out_height = y[1];
    problem.out_width = y[2];
  }
  const winograd_s8::Kernel* kernel = winograd_s8::select(problem, context.isa);
  problem.magnitude = int64_t{9} * 128 * weights.depth;
  if (kernel != winograd_s8::select(problem, context.isa)) {
    // It depends on the weights, which are read for nothing else where they are packed already.
    problem.magnitude = largest_magnitude(weights);
    kernel = winograd_s8::select(problem, context.isa);
  }
  if (kernel == nullptr) return nullptr;
  return std::make_unique<WinogradConv>(node, shape, weights, *kernel, context);
}

}  // namespace zeropoint
