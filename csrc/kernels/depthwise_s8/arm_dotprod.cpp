// depthwise_s8 with the dot product instructions: SDOT over four activations of one channel.
//
// Squares over an image's geometry (arm_columns.h): a dword holds four vertically neighbouring
// activations, which meet the weights of every kernel column, and with shifted weights those of
// two output rows of stride 1:
//   3x3: (w0, w1, w2, 0) for the upper row, (0, w0, w1, w2) for the lower one.
//   5x5: one output row, (w0, w1, w2, w3) and (w4, 0, 0, 0).
// Any other taps (arm_taps.h): a dword holds the activations of four taps.
// Runs are interleaved by ZIP on bytes and then on pairs of bytes, which keeps channels in order.
#include "kernels/depthwise_s8/arm_columns.h"
#include "kernels/depthwise_s8/arm_taps.h"
#include "kernels/depthwise_s8/depthwise_s8_kernels.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

ZEROPOINT_INLINE int8x16_t zip_pairs_low(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s16(vzip1q_s16(vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b)));
}
ZEROPOINT_INLINE int8x16_t zip_pairs_high(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s16(vzip2q_s16(vreinterpretq_s16_s8(a), vreinterpretq_s16_s8(b)));
}

template <typename S>
struct Sdot {
  static constexpr int kDwords = (S::kInputRows + 3) / 4;  // down a column
  static constexpr int kInputs = 2 * kDwords;
  static constexpr int kWeights = 2 * S::kRows * S::kSide * kDwords;
  static constexpr int kHeldWeights = S::kSide == 3 ? kWeights : S::kStep == 1 ? 8 : 12;
  static constexpr bool kHeldConstants = true;
  using Input = int8x16_t;
  using Weight = int8x16_t;

  // Vector `half` of the weights that output row `row` and kernel column `tap` have for a dword.
  static constexpr int weight(int row, int tap, int dword, int half) {
    return ((row * S::kSide + tap) * kDwords + dword) * 2 + half;
  }

  template <typename Run>
  static ZEROPOINT_INLINE void load(const Run& run, Input (&x)[S::kBlocks][kInputs]) {
    unroll<kDwords>(ZP_EACH(d) {
      constexpr int kDword = decltype(d)::value;
      const auto row = ZP_EACH(r) {
        // What fills up the last dword meets zero weights.
        constexpr int kRow = 4 * kDword + decltype(r)::value;
        return run(Index<(kRow < S::kInputRows ? kRow : S::kInputRows - 1)>{});
      };
      const int8x16_t r0 = row(Index<0>{}), r1 = row(Index<1>{});
      const int8x16_t r2 = row(Index<2>{}), r3 = row(Index<3>{});
      unroll<S::kBlocks>(ZP_EACH(block) {
        constexpr int kBlock = decltype(block)::value;
        const int8x16_t upper = kBlock == 0 ? vzip1q_s8(r0, r1) : vzip2q_s8(r0, r1);
        const int8x16_t lower = kBlock == 0 ? vzip1q_s8(r2, r3) : vzip2q_s8(r2, r3);
        x[kBlock][2 * kDword] = zip_pairs_low(upper, lower);
        x[kBlock][2 * kDword + 1] = zip_pairs_high(upper, lower);
      });
    });
  }

  template <int kRow, int kTap, typename W>
  static ZEROPOINT_INLINE void add(const Input (&x)[kInputs], const W& packed, Sums& sums) {
    unroll<kDwords>(ZP_EACH(d) {
      constexpr int kDword = decltype(d)::value;
      sums.low = vdotq_s32(sums.low, x[2 * kDword], packed(Index<weight(kRow, kTap, kDword, 0)>{}));
      sums.high =
          vdotq_s32(sums.high, x[2 * kDword + 1], packed(Index<weight(kRow, kTap, kDword, 1)>{}));
    });
  }

  static void pack(const int8_t* weights, int c, uint8_t* out) {
    for (int row = 0; row < S::kRows; ++row) {
      for (int t = 0; t < S::kSide * S::kSide; ++t) {
        const int input_row = t / S::kSide + row;
        const int at = weight(row, t % S::kSide, input_row / 4, c / 4);
        out[16 * at + c % 4 * 4 + input_row % 4] = static_cast<uint8_t>(weights[t]);
      }
    }
  }
};

struct SdotStep {
  static constexpr int kTaps = 4;
  static constexpr int kPixels = 3;
  static constexpr int kWeights = 4;
  using Weight = int8x16_t;

  static ZEROPOINT_INLINE void add(const act_t* const* runs, int channel,
                                   const Weight (&weights)[4], int32x4_t (&acc)[4]) {
    int8x16_t run[4];
    for (int t = 0; t < 4; ++t) run[t] = vld1q_s8(runs[t] + channel);
    const int8x16_t low01 = vzip1q_s8(run[0], run[1]), low23 = vzip1q_s8(run[2], run[3]);
    const int8x16_t high01 = vzip2q_s8(run[0], run[1]), high23 = vzip2q_s8(run[2], run[3]);
    acc[0] = vdotq_s32(acc[0], zip_pairs_low(low01, low23), weights[0]);
    acc[1] = vdotq_s32(acc[1], zip_pairs_high(low01, low23), weights[1]);
    acc[2] = vdotq_s32(acc[2], zip_pairs_low(high01, high23), weights[2]);
    acc[3] = vdotq_s32(acc[3], zip_pairs_high(high01, high23), weights[3]);
  }

  static void pack(int8_t weight, int tap, int c, uint8_t* out) {
    out[c * 4 + tap] = static_cast<uint8_t>(weight);
  }
};

constexpr Kernel kKernels[] = {
    columns_kernel<Sdot, Shape<3, 1, 2>>("depthwise_s8_3x3_dotprod", Isa::dotprod),
    columns_kernel<Sdot, Shape<3, 2, 1, 2>>("depthwise_s8_3x3s2_dotprod", Isa::dotprod),
    columns_kernel<Sdot, Shape<5, 1, 1>>("depthwise_s8_5x5_dotprod", Isa::dotprod),
    columns_kernel<Sdot, Shape<5, 2, 1>>("depthwise_s8_5x5s2_dotprod", Isa::dotprod),
    taps_kernel<SdotStep>("depthwise_s8_16_dotprod", Isa::dotprod),
};

}  // namespace

KernelSpan<Kernel> arm_dotprod_kernels() { return {kKernels, 5}; }

}  // namespace zeropoint::depthwise_s8
