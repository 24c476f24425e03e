// depthwise_s8 with Armv8.0 NEON: SMLAL of 16-bit activations and weights into int32, which is
// exact for all weights, -128 included.
//
// Activations are widened once for all the output pixels that they serve (arm_columns.h), or once
// a tap (arm_taps.h); weights are packed as 16 bits.
#include "kernels/depthwise_s8/arm_columns.h"
#include "kernels/depthwise_s8/arm_taps.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

template <typename S>
struct Smlal {
  static constexpr int kInputs = S::kInputRows;
  static constexpr int kWeights = S::kSide * S::kSide;
  static constexpr int kHeldWeights = S::kSide == 5 ? 0 : S::kStep == 1 ? 6 : kWeights;
  static constexpr bool kHeldConstants = S::kRows == 1 && S::kSide == 3;
  using Input = int16x8_t;
  using Weight = int16x8_t;

  template <typename Run>
  static ZEROPOINT_INLINE void load(const Run& run, Input (&x)[1][kInputs]) {
    unroll<kInputs>(ZP_EACH(r) { x[0][decltype(r)::value] = vmovl_s8(vget_low_s8(run(r))); });
  }

  template <int kRow, int kTap, typename W>
  static ZEROPOINT_INLINE void add(const Input (&x)[kInputs], const W& packed, Sums& sums) {
    unroll<S::kSide>(ZP_EACH(r) {
      const int16x8_t run = x[kRow + decltype(r)::value];
      const int16x8_t weight = packed(Index<kTap * S::kSide + decltype(r)::value>{});
      sums.low = vmlal_s16(sums.low, vget_low_s16(run), vget_low_s16(weight));
      sums.high = vmlal_high_s16(sums.high, run, weight);
    });
  }

  static void pack(const int8_t* weights, int c, uint8_t* out) {
    for (int t = 0; t < kWeights; ++t) {
      const int16_t wide = weights[t];
      const int at = t % S::kSide * S::kSide + t / S::kSide;  // column by column
      std::memcpy(out + 16 * at + 2 * c, &wide, 2);
    }
  }
};

struct SmlalStep {
  static constexpr int kTaps = 1;
  static constexpr int kPixels = 4;
  static constexpr int kWeights = 2;
  using Weight = int16x8_t;

  static ZEROPOINT_INLINE void add(const act_t* const* runs, int channel,
                                   const Weight (&weights)[2], int32x4_t (&acc)[4]) {
    const int8x16_t run = vld1q_s8(runs[0] + channel);
    const int16x8_t low = vmovl_s8(vget_low_s8(run)), high = vmovl_high_s8(run);
    acc[0] = vmlal_s16(acc[0], vget_low_s16(low), vget_low_s16(weights[0]));
    acc[1] = vmlal_high_s16(acc[1], low, weights[0]);
    acc[2] = vmlal_s16(acc[2], vget_low_s16(high), vget_low_s16(weights[1]));
    acc[3] = vmlal_high_s16(acc[3], high, weights[1]);
  }

  static void pack(int8_t weight, int, int c, uint8_t* out) {
    const int16_t wide = weight;
    std::memcpy(out + 2 * c, &wide, 2);
  }
};

constexpr Kernel kKernels[] = {
    columns_kernel<Smlal, Shape<3, 1, 2>>("depthwise_s8_3x3_neon", Isa::neon),
    columns_kernel<Smlal, Shape<3, 2, 1>>("depthwise_s8_3x3s2_neon", Isa::neon),
    columns_kernel<Smlal, Shape<5, 1, 1>>("depthwise_s8_5x5_neon", Isa::neon),
    columns_kernel<Smlal, Shape<5, 2, 1>>("depthwise_s8_5x5s2_neon", Isa::neon),
    taps_kernel<SmlalStep>("depthwise_s8_16_neon", Isa::neon),
};

}  // namespace

KernelSpan<Kernel> arm_neon_kernels() { return {kKernels, 5}; }

}  // namespace zeropoint::depthwise_s8
