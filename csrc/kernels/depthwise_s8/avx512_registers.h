// The same operations on 64, 32 and 16 channels (registers of three widths), and on two runs of 32
// or 16 channels side by side, for depthwise_s8 with AVX-512. For ISA files only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/depthwise_s8/blocks.h"
#include "kernels/epilogue_avx512.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

// Members of a register type: P is the intrinsics' prefix, B the register's bits.
#define ZP_REGISTER_OPERATIONS(P, B)                                                              \
  static ZEROPOINT_INLINE Int load(const void* p) {                                               \
    return P##_loadu_si##B(static_cast<const Int*>(p));                                           \
  }                                                                                               \
  static ZEROPOINT_INLINE Float load_f(const void* p) {                                           \
    return P##_loadu_ps(static_cast<const float*>(p));                                            \
  }                                                                                               \
  static ZEROPOINT_INLINE void store_whole(void* p, Int v) {                                      \
    P##_storeu_si##B(static_cast<Int*>(p), v);                                                    \
  }                                                                                               \
  static ZEROPOINT_INLINE Int set_u8(int v) { return P##_set1_epi8(static_cast<char>(v)); }       \
  static ZEROPOINT_INLINE Int set_s16(int v) { return P##_set1_epi16(static_cast<int16_t>(v)); }  \
  static ZEROPOINT_INLINE Int set_s32(int v) { return P##_set1_epi32(v); }                        \
  static ZEROPOINT_INLINE Float set_f(float v) { return P##_set1_ps(v); }                         \
  static ZEROPOINT_INLINE Int lo8(Int a, Int b) { return P##_unpacklo_epi8(a, b); }               \
  static ZEROPOINT_INLINE Int hi8(Int a, Int b) { return P##_unpackhi_epi8(a, b); }               \
  static ZEROPOINT_INLINE Int lo16(Int a, Int b) { return P##_unpacklo_epi16(a, b); }             \
  static ZEROPOINT_INLINE Int hi16(Int a, Int b) { return P##_unpackhi_epi16(a, b); }             \
  static ZEROPOINT_INLINE Int dot4(Int acc, Int x, Int w) { return P##_dpbusd_epi32(acc, x, w); } \
  static ZEROPOINT_INLINE Int add_s32(Int a, Int b) { return P##_add_epi32(a, b); }               \
  static ZEROPOINT_INLINE Float to_float(Int v) { return P##_cvtepi32_ps(v); }                    \
  static ZEROPOINT_INLINE Float as_float(Int v) { return P##_castsi##B##_ps(v); }                 \
  static ZEROPOINT_INLINE Float mul(Float a, Float b) { return P##_mul_ps(a, b); }                \
  static ZEROPOINT_INLINE Float fma(Float a, Float b, Float c) { return P##_fmadd_ps(a, b, c); }  \
  static ZEROPOINT_INLINE Float min_f(Float a, Float b) { return P##_min_ps(a, b); }              \
  static ZEROPOINT_INLINE Int round(Float v) { return P##_cvtps_epi32(v); }                       \
  static ZEROPOINT_INLINE Int narrow_s16(Int a, Int b) { return P##_packs_epi32(a, b); }          \
  static ZEROPOINT_INLINE Int add_s16(Int a, Int b) { return P##_adds_epi16(a, b); }              \
  static ZEROPOINT_INLINE Int narrow_u8(Int a, Int b) { return P##_packus_epi16(a, b); }          \
  static ZEROPOINT_INLINE Int max_u8(Int a, Int b) { return P##_max_epu8(a, b); }

// load_run and store_run take the run of a first tile and that of a second one, which only the
// paired types below use. Blocks of 16 channels are packed twice, side by side, so that registers
// of both widths can be loaded: kStride is the distance of registers in a packed block.
struct Zmm {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kChannels = 64, kStride = 64, kTiles = 1;
  ZP_REGISTER_OPERATIONS(_mm512, 512)
  static ZEROPOINT_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  static ZEROPOINT_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
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
  static ZEROPOINT_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  static ZEROPOINT_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
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
  static ZEROPOINT_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  static ZEROPOINT_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
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
  static ZEROPOINT_INLINE Int load_run(const act_t* x, const act_t* second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(Xmm::load(x)), Xmm::load(second), 1);
  }
  static ZEROPOINT_INLINE void store_run(act_t* y, act_t* second, Int v, int count) {
    Xmm::store_run(y, nullptr, _mm256_castsi256_si128(v), count);
    Xmm::store_run(second, nullptr, _mm256_extracti128_si256(v, 1), count);
  }
};

constexpr int kWidest = 64;  // channels of a block

// Width of the block that starts where `rest` channels are left.
ZEROPOINT_INLINE int block_width(int rest) { return rest > 32 ? 64 : rest > 16 ? 32 : 16; }

// f(V{}) with the register type of a block.
template <typename F>
ZEROPOINT_INLINE void with_registers(int width, const F& f) {
  if (width == 64) {
    f(Zmm{});
  } else if (width == 32) {
    f(Ymm{});
  } else {
    f(XmmPair{});
  }
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
