// The same operations on 64, 32 and 16 channels (registers of three widths), and on two runs of 32
// or 16 channels side by side, for depthwise_s8 with AVX-512. For ISA files only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/epilogue_avx512.h"

namespace zeropoint::depthwise_s8 {
namespace {

#define ZP_INLINE static inline __attribute__((always_inline))

// Members of a register type: P is the intrinsics' prefix, B the register's bits.
#define ZP_REGISTER_OPERATIONS(P, B)                                                           \
  ZP_INLINE Int load(const void* p) { return P##_loadu_si##B(static_cast<const Int*>(p)); }    \
  ZP_INLINE Float load_f(const void* p) { return P##_loadu_ps(static_cast<const float*>(p)); } \
  ZP_INLINE void store_whole(void* p, Int v) { P##_storeu_si##B(static_cast<Int*>(p), v); }    \
  ZP_INLINE Int set_u8(int v) { return P##_set1_epi8(static_cast<char>(v)); }                  \
  ZP_INLINE Int set_s16(int v) { return P##_set1_epi16(static_cast<int16_t>(v)); }             \
  ZP_INLINE Int set_s32(int v) { return P##_set1_epi32(v); }                                   \
  ZP_INLINE Float set_f(float v) { return P##_set1_ps(v); }                                    \
  ZP_INLINE Int lo8(Int a, Int b) { return P##_unpacklo_epi8(a, b); }                          \
  ZP_INLINE Int hi8(Int a, Int b) { return P##_unpackhi_epi8(a, b); }                          \
  ZP_INLINE Int lo16(Int a, Int b) { return P##_unpacklo_epi16(a, b); }                        \
  ZP_INLINE Int hi16(Int a, Int b) { return P##_unpackhi_epi16(a, b); }                        \
  ZP_INLINE Int dot4(Int acc, Int x, Int w) { return P##_dpbusd_epi32(acc, x, w); }            \
  ZP_INLINE Int add_s32(Int a, Int b) { return P##_add_epi32(a, b); }                          \
  ZP_INLINE Float to_float(Int v) { return P##_cvtepi32_ps(v); }                               \
  ZP_INLINE Float as_float(Int v) { return P##_castsi##B##_ps(v); }                            \
  ZP_INLINE Float mul(Float a, Float b) { return P##_mul_ps(a, b); }                           \
  ZP_INLINE Float fma(Float a, Float b, Float c) { return P##_fmadd_ps(a, b, c); }             \
  ZP_INLINE Float min_f(Float a, Float b) { return P##_min_ps(a, b); }                         \
  ZP_INLINE Int round(Float v) { return P##_cvtps_epi32(v); }                                  \
  ZP_INLINE Int narrow_s16(Int a, Int b) { return P##_packs_epi32(a, b); }                     \
  ZP_INLINE Int add_s16(Int a, Int b) { return P##_adds_epi16(a, b); }                         \
  ZP_INLINE Int narrow_u8(Int a, Int b) { return P##_packus_epi16(a, b); }                     \
  ZP_INLINE Int max_u8(Int a, Int b) { return P##_max_epu8(a, b); }

// load_run and store_run take the run of a first tile and that of a second one, which only the
// paired types below use. Blocks of 16 channels are packed twice, side by side, so that registers
// of both widths can be loaded: kStride is the distance of registers in a packed block.
struct Zmm {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kChannels = 64, kStride = 64, kTiles = 1;
  ZP_REGISTER_OPERATIONS(_mm512, 512)
  ZP_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  ZP_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
    if (count == kChannels) {
      store_whole(y, v);
    } else {
      _mm512_mask_storeu_epi8(y, ~uint64_t{0} >> (64 - count), v);
    }
  }
};

struct Ymm {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kChannels = 32, kStride = 32, kTiles = 1;
  ZP_REGISTER_OPERATIONS(_mm256, 256)
  ZP_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  ZP_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
    if (count == kChannels) {
      store_whole(y, v);
    } else {
      _mm256_mask_storeu_epi8(y, ~uint32_t{0} >> (32 - count), v);
    }
  }
};

struct Xmm {
  using Int = __m128i;
  using Float = __m128;
  static constexpr int kChannels = 16, kStride = 32, kTiles = 1;
  ZP_REGISTER_OPERATIONS(_mm, 128)
  ZP_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  ZP_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
    if (count == kChannels) {
      store_whole(y, v);
    } else {
      _mm_mask_storeu_epi8(y, static_cast<__mmask16>(0xFFFF >> (16 - count)), v);
    }
  }
};

#undef ZP_REGISTER_OPERATIONS

// Two tiles of 16 channels at once, one in each half of a register.
struct XmmPair : Ymm {
  static constexpr int kTiles = 2;
  ZP_INLINE Int load_run(const act_t* x, const act_t* second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(Xmm::load(x)), Xmm::load(second), 1);
  }
  ZP_INLINE void store_run(act_t* y, act_t* second, Int v, int count) {
    Xmm::store_run(y, nullptr, _mm256_castsi256_si128(v), count);
    Xmm::store_run(second, nullptr, _mm256_extracti128_si256(v, 1), count);
  }
};

// Requantization from the accumulators on, in forms that do no more than a layer needs.
enum class Scaling {
  any,
  // All 256 values may come out, and no scaled accumulator is so large that vcvtps2dq would turn it
  // into INT_MIN: what saturates when it is narrowed is all there is to clamp.
  whole_range,
  // As well, and the zero point is 0, so that all negative results are 0. An accumulator a below
  // 2^23 added to the bit pattern of 2^23 is the float 2^23 + a for a >= 0, and 2^23 + a / 2 below:
  // one fused multiply-add with -2^23 * m makes of it a * m rounded once, or something negative.
  from_zero,
};
constexpr int32_t kTwo23Bits = 0x4B000000;

// No value may be a NaN.
template <typename V, Scaling kScaling>
struct Finish {
  using Int = typename V::Int;
  using Float = typename V::Float;
  Float highest;
  Int zero_point, qmin;

  explicit __attribute__((always_inline)) inline Finish(const OutputClamp& clamp)
      : highest(V::set_f(static_cast<float>(clamp.qmax - clamp.zero_point))),
        zero_point(V::set_s16(clamp.zero_point)),
        qmin(V::set_u8(clamp.qmin)) {}

  // `offset` is -2^23 * m for Scaling::from_zero, else unused.
  __attribute__((always_inline)) inline Int scale(Int acc, Float m, Float offset) const {
    if constexpr (kScaling == Scaling::from_zero) {
      return V::round(V::fma(V::as_float(acc), m, offset));
    } else if constexpr (kScaling == Scaling::whole_range) {
      return V::round(V::mul(V::to_float(acc), m));
    } else {
      return V::round(V::min_f(V::mul(V::to_float(acc), m), highest));
    }
  }
  __attribute__((always_inline)) inline Int narrow(Int a, Int b) const {
    const Int words = V::narrow_s16(a, b);
    return kScaling == Scaling::from_zero ? words : V::add_s16(words, zero_point);
  }
  __attribute__((always_inline)) inline Int to_bytes(Int a, Int b) const {
    const Int bytes = V::narrow_u8(a, b);
    return kScaling == Scaling::any ? V::max_u8(bytes, qmin) : bytes;
  }
};

// Width of the block that starts where `rest` channels are left.
ZP_INLINE int block_width(int rest) { return rest > 32 ? 64 : rest > 16 ? 32 : 16; }

// Channels that a block has room for.
ZP_INLINE int packed_width(int width) { return width < 32 ? 32 : width; }

// The channel, within its block, that dword `slot` of a packed block's four registers belongs to:
// lo8/hi8 and then lo16/hi16 leave the bytes in this order, and the epilogue's packs undo it.
ZP_INLINE int channel_of_slot(int slot, int width) {
  const int lanes = packed_width(width) / 4;
  return slot % lanes / 4 * 16 % width + slot / lanes * 4 + slot % 4;
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
