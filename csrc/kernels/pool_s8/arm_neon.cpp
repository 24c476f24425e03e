// pool_s8 with Armv8.0 NEON: 64 channels at once, 16 where fewer than 49 are left.
//
// mean: bytes are summed in int16 over stretches of taps that cannot overflow it, and these sums in
// int32.
#include "kernels/epilogue_neon.h"
#include "kernels/inlining.h"
#include "kernels/pool_s8/pool_s8_kernels.h"

namespace zeropoint::pool_s8 {
namespace {

constexpr int kWidth = 16;
constexpr int kStretch = 255;  // taps whose 16-bit sums fit: 128 * 255 < 2^15

// kRegisters x 16 channels of one pixel, of which `count` are stored.
template <int kRegisters>
ZEROPOINT_INLINE void max_block(const RunArgs& args, int64_t p, int c, int count) {
  const int8x16_t qmax = vdupq_n_s8(static_cast<int8_t>(args.clamp.qmax));
  int8x16_t best[kRegisters];
  for (int r = 0; r < kRegisters; ++r) best[r] = vdupq_n_s8(static_cast<int8_t>(args.clamp.qmin));
  for (int t = 0; t < args.x.taps; ++t) {
    const act_t* x = row_run(args.x, p, t) + c;
    for (int r = 0; r < kRegisters; ++r) best[r] = vmaxq_s8(best[r], vld1q_s8(x + r * kWidth));
  }
  act_t* y = args.y + p * args.y_stride + c;
  for (int r = 0; r < kRegisters; ++r) {
    neon_store_first(y + r * kWidth, vminq_s8(best[r], qmax), count - r * kWidth);
  }
}

template <int kRegisters>
ZEROPOINT_INLINE void mean_block(const RunArgs& args, const NeonEpilogue& epilogue, int64_t p,
                                 int c, int count) {
  int32x4_t sum[kRegisters][4];
  for (int r = 0; r < kRegisters; ++r) {
    for (int v = 0; v < 4; ++v) sum[r][v] = vdupq_n_s32(-args.x.taps * args.zero_point);
  }
  for (int t = 0; t < args.x.taps;) {
    const int end = args.x.taps - t < kStretch ? args.x.taps : t + kStretch;
    int16x8_t words[kRegisters][2];
    for (int r = 0; r < kRegisters; ++r) words[r][0] = words[r][1] = vdupq_n_s16(0);
    for (; t < end; ++t) {
      const act_t* x = row_run(args.x, p, t) + c;
      for (int r = 0; r < kRegisters; ++r) {
        const int8x16_t q = vld1q_s8(x + r * kWidth);
        words[r][0] = vaddw_s8(words[r][0], vget_low_s8(q));
        words[r][1] = vaddw_high_s8(words[r][1], q);
      }
    }
    for (int r = 0; r < kRegisters; ++r) {
      for (int half = 0; half < 2; ++half) {
        sum[r][2 * half] = vaddw_s16(sum[r][2 * half], vget_low_s16(words[r][half]));
        sum[r][2 * half + 1] = vaddw_high_s16(sum[r][2 * half + 1], words[r][half]);
      }
    }
  }
  const float32x4_t multiplier = vdupq_n_f32(args.multiplier[p]);
  act_t* y = args.y + p * args.y_stride + c;
  for (int r = 0; r < kRegisters; ++r) {
    float32x4_t v[4];
    for (int k = 0; k < 4; ++k) v[k] = neon_scale(sum[r][k], multiplier);
    neon_store_first(y + r * kWidth, neon_round_clamp(v[0], v[1], v[2], v[3], epilogue),
                     count - r * kWidth);
  }
}

void max(const RunArgs& args) {
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    int c = 0;
    for (; args.x.depth - c > 3 * kWidth; c += 4 * kWidth) {
      max_block<4>(args, p, c, args.x.depth - c);
    }
    for (; c < args.x.depth; c += kWidth) max_block<1>(args, p, c, args.x.depth - c);
  }
}

void mean(const RunArgs& args) {
  const NeonEpilogue epilogue = neon_epilogue(args.clamp);
  for (int64_t p = args.pixel_begin; p < args.pixel_end; ++p) {
    int c = 0;
    for (; args.x.depth - c > 3 * kWidth; c += 4 * kWidth) {
      mean_block<4>(args, epilogue, p, c, args.x.depth - c);
    }
    for (; c < args.x.depth; c += kWidth) mean_block<1>(args, epilogue, p, c, args.x.depth - c);
  }
}

constexpr Kernel kKernels[] = {{"pool_s8_64_neon", Isa::neon, max, mean}};

}  // namespace

KernelSpan<Kernel> arm_neon_kernels() { return {kKernels, 1}; }

}  // namespace zeropoint::pool_s8
