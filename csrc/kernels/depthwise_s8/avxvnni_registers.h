// The operations of depthwise_s8 on 32 channels in a 256-bit register, and on two runs of 16
// channels side by side, with vpdpbusd in either encoding. For ISA files only.
#pragma once

#include <immintrin.h>

#include "kernels/depthwise_s8/blocks.h"
#include "kernels/dot_avxvnni.h"
#include "kernels/epilogue_avx2.h"
#include "kernels/inlining.h"

namespace zeropoint::depthwise_s8 {
namespace {

// load_run and store_run take the run of a first tile and that of a second one, which only the
// paired type below uses. Blocks of 16 channels are packed twice, side by side.
struct Ymm {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kChannels = 32, kStride = 32, kTiles = 1;
  static ZEROPOINT_INLINE Int load(const void* p) {
    return _mm256_loadu_si256(static_cast<const Int*>(p));
  }
  static ZEROPOINT_INLINE Float load_f(const void* p) {
    return _mm256_loadu_ps(static_cast<const float*>(p));
  }
  static ZEROPOINT_INLINE Int set_u8(int v) { return _mm256_set1_epi8(static_cast<char>(v)); }
  static ZEROPOINT_INLINE Int set_s16(int v) { return _mm256_set1_epi16(static_cast<int16_t>(v)); }
  static ZEROPOINT_INLINE Int set_s32(int v) { return _mm256_set1_epi32(v); }
  static ZEROPOINT_INLINE Float set_f(float v) { return _mm256_set1_ps(v); }
  static ZEROPOINT_INLINE Int lo8(Int a, Int b) { return _mm256_unpacklo_epi8(a, b); }
  static ZEROPOINT_INLINE Int hi8(Int a, Int b) { return _mm256_unpackhi_epi8(a, b); }
  static ZEROPOINT_INLINE Int lo16(Int a, Int b) { return _mm256_unpacklo_epi16(a, b); }
  static ZEROPOINT_INLINE Int hi16(Int a, Int b) { return _mm256_unpackhi_epi16(a, b); }
  static ZEROPOINT_INLINE Int dot4(Int acc, Int x, Int w) {
    zeropoint::dot4(acc, x, w);
    return acc;
  }
  static ZEROPOINT_INLINE Int add_s32(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static ZEROPOINT_INLINE Float to_float(Int v) { return _mm256_cvtepi32_ps(v); }
  static ZEROPOINT_INLINE Float as_float(Int v) { return _mm256_castsi256_ps(v); }
  static ZEROPOINT_INLINE Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static ZEROPOINT_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static ZEROPOINT_INLINE Float min_f(Float a, Float b) { return _mm256_min_ps(a, b); }
  static ZEROPOINT_INLINE Int round(Float v) { return _mm256_cvtps_epi32(v); }
  static ZEROPOINT_INLINE Int narrow_s16(Int a, Int b) { return _mm256_packs_epi32(a, b); }
  static ZEROPOINT_INLINE Int add_s16(Int a, Int b) { return _mm256_adds_epi16(a, b); }
  static ZEROPOINT_INLINE Int narrow_u8(Int a, Int b) { return _mm256_packus_epi16(a, b); }
  static ZEROPOINT_INLINE Int max_u8(Int a, Int b) { return _mm256_max_epu8(a, b); }
  static ZEROPOINT_INLINE Int load_run(const act_t* x, const act_t*) { return load(x); }
  static ZEROPOINT_INLINE void store_run(act_t* y, act_t*, Int v, int count) {
    avx2_store_first(y, v, count);
  }
};

// Two tiles of 16 channels at once, one in each half of a register.
struct YmmPair : Ymm {
  static constexpr int kTiles = 2;
  static ZEROPOINT_INLINE Int load_run(const act_t* x, const act_t* second) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(second)), 1);
  }
  static ZEROPOINT_INLINE void store_half(act_t* y, __m128i v, int count) {
    if (count == 16) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v);
    } else {
      alignas(16) act_t bytes[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(bytes), v);
      avx2_copy_below_32(y, bytes, count);
    }
  }
  static ZEROPOINT_INLINE void store_run(act_t* y, act_t* second, Int v, int count) {
    store_half(y, _mm256_castsi256_si128(v), count);
    store_half(second, _mm256_extracti128_si256(v, 1), count);
  }
};

constexpr int kWidest = 32;  // channels of a block

// Width of the block that starts where `rest` channels are left.
ZEROPOINT_INLINE int block_width(int rest) { return rest > 16 ? 32 : 16; }

// f(V{}) with the register type of a block.
template <typename F>
ZEROPOINT_INLINE void with_registers(int width, const F& f) {
  if (width == 32) {
    f(Ymm{});
  } else {
    f(YmmPair{});
  }
}

}  // namespace
}  // namespace zeropoint::depthwise_s8
