// float32 vectors of the width that the including file is compiled for (GCC vector extensions,
// which Clang shares), for families that are plain arithmetic over channels. File-local throughout.
#pragma once

namespace zeropoint {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

template <int L>
struct VectorOf {
  typedef float type __attribute__((vector_size(L * sizeof(float))));
};
template <>
struct VectorOf<1> {
  typedef float type;
};
template <int L>
using Vector = typename VectorOf<L>::type;

template <int L>
inline Vector<L> load(const float* p) {
  Vector<L> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <int L>
inline void store(float* p, Vector<L> v) {
  __builtin_memcpy(p, &v, sizeof v);
}
template <int L>
inline Vector<L> splat(float x) {
  return x - Vector<L>{};  // x - 0 is x for every x, -0 included
}

// y < lo ? lo : y, then y > hi ? hi : y; a NaN passes through.
template <int L>
inline Vector<L> clamp(Vector<L> y, float lo, float hi) {
  const Vector<L> low = splat<L>(lo), high = splat<L>(hi);
  y = y < low ? low : y;
  return y > high ? high : y;
}

// Covers [0, channels) with block.run<lanes, vectors>(first channel): as wide as possible, and
// never past the end.
template <typename Block>
inline void for_channels(int channels, const Block& block) {
  int c = 0;
  for (; channels - c >= 4 * kLanes; c += 4 * kLanes) block.template run<kLanes, 4>(c);
  for (; channels - c >= 2 * kLanes; c += 2 * kLanes) block.template run<kLanes, 2>(c);
  for (; channels - c >= kLanes; c += kLanes) block.template run<kLanes, 1>(c);
  if constexpr (kLanes > 8) {
    for (; channels - c >= 8; c += 8) block.template run<8, 1>(c);
  }
  if constexpr (kLanes > 4) {
    for (; channels - c >= 4; c += 4) block.template run<4, 1>(c);
  }
  for (; c < channels; ++c) block.template run<1, 1>(c);
}

}  // namespace
}  // namespace zeropoint
