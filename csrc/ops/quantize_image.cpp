// quantize and transpose in one: float32 planes [N, C, ...] become int8 pixels [N, ..., C]. Between
// the two, values stay in the first-level cache.
#include <algorithm>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/elementwise_s8/elementwise_s8.h"
#include "ops/checks.h"
#include "ops/fused.h"
#include "ops/plan.h"
#include "ops/strided_copy.h"

namespace zeropoint {
namespace {

namespace es = elementwise_s8;

class QuantizeImage final : public Op {
 public:
  QuantizeImage(const NodeInfo& node, const OpContext& context)
      : kernel_(es::select(context.isa)),
        threads_(context.threads),
        quantize_(make_op(node.parts.at(0), context)),
        transpose_(make_op(node.parts.at(1), context)) {
    args_.scale = quant_of(node.output()).scale;
    args_.clamp = full_clamp(node.output());
  }

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override {
    return transpose_->infer(quantize_->infer(inputs));
  }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>& outputs) const override {
    if (outputs[0].elements() == 0) return make_empty_plan();
    const Shape& x = inputs[0];
    const int64_t images = x[0], channels = x[1], pixels = x.elements(2, x.rank());
    const int64_t strips = ceil_div(pixels, kStrip);
    const auto part_bytes =
        round_up<size_t>(static_cast<size_t>(channels * kStrip) + kOverreadBytes, 64);
    return make_kernel_plan(
        kernel_,
        [=](const void* const* in, void* const* out, RunContext& context) {
          const double cost = 0.2 * static_cast<double>(std::min(pixels, kStrip) * channels);
          context.pool.parallel_for(
              images * strips, grain_for(cost), [&](int64_t begin, int64_t end, int part) {
                act_t* planes =
                    static_cast<act_t*>(context.scratch) + static_cast<size_t>(part) * part_bytes;
                for (int64_t item = begin; item < end; ++item) {
                  const int64_t image = item / strips, first = item % strips * kStrip;
                  es::QuantizeArgs args = args_;
                  args.n = std::min(kStrip, pixels - first);
                  for (int64_t c = 0; c < channels; ++c) {
                    args.x =
                        static_cast<const float*>(in[0]) + (image * channels + c) * pixels + first;
                    args.y = planes + c * kStrip;
                    kernel_.quantize(args);
                  }
                  act_t* y = static_cast<act_t*>(out[0]) + (image * pixels + first) * channels;
                  turn_plane(planes, kStrip, y, channels, args.n, channels);
                }
              });
        },
        part_bytes * static_cast<size_t>(threads_));
  }
  bool reads_exactly(size_t) const override { return true; }

 private:
  static constexpr int64_t kStrip = 512;  // pixels

  const es::Kernel& kernel_;
  int threads_;
  std::unique_ptr<Op> quantize_, transpose_;  // check the nodes, and know their shapes
  es::QuantizeArgs args_;
};

}  // namespace

bool is_image_to_channels_last(const NodeInfo& transpose) {
  if (transpose.op != "transpose" || transpose.inputs.size() != 1) return false;
  const std::vector<int64_t> perm = transpose.attributes.get_ints("perm", {});
  const Shape& x = transpose.input(0).shape;
  const auto rank = static_cast<int64_t>(perm.size());
  if (rank < 3 || x.rank() != rank || x[1] < 1 || x[1] > kMaxImageChannels) return false;
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t from = i == 0 ? 0 : i == rank - 1 ? 1 : i + 1;
    if (perm[static_cast<size_t>(i)] != from) return false;
  }
  return true;
}

std::unique_ptr<Op> make_quantize_image(const NodeInfo& node, const OpContext& context) {
  return std::make_unique<QuantizeImage>(node, context);
}

}  // namespace zeropoint
