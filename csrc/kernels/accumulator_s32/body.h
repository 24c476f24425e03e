// The loops of accumulator_s32: included by each ISA file, which compiles them for its own vectors.
// Everything is file-local, and every result is exact or one rounded operation after the other, so
// that a compiler may use any width.
#pragma once

#include <cstdint>

#include "kernels/accumulator_s32/accumulator_s32.h"
#include "kernels/epilogue_portable.h"

#if defined(__clang__)
#define ZEROPOINT_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ZEROPOINT_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace zeropoint::accumulator_s32 {
namespace {

// Calls store(j, acc[j]) for each j, the choice of terms outside of the loop.
template <typename Store>
inline void for_accumulators(const Correction& acc, const Store& store) {
  const int32_t* raw = acc.raw;
  const int32_t* columns = acc.column_sums;
  const int32_t* zero_b = acc.zero_b;
  const int32_t zero_a = acc.zero_a, row = acc.row;
  const int64_t n = acc.n;
  if (zero_a != 0 && row != 0 && zero_b != nullptr) {
    ZEROPOINT_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) store(j, raw[j] - zero_a * columns[j] - row * zero_b[j]);
  } else if (zero_a != 0) {
    ZEROPOINT_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) store(j, raw[j] - zero_a * columns[j]);
  } else if (row != 0 && zero_b != nullptr) {
    ZEROPOINT_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) store(j, raw[j] - row * zero_b[j]);
  } else {
    ZEROPOINT_INDEPENDENT
    for (int64_t j = 0; j < n; ++j) store(j, raw[j]);
  }
}

void correct(const Correction& acc, int32_t* y) {
  for_accumulators(acc, [y](int64_t j, int32_t value) { y[j] = value; });
}

void requantize_run(const RequantizeArgs& args) {
  const PortableEpilogue epilogue = portable_epilogue(args.clamp);
  const float multiplier = args.multiplier;
  act_t* y = args.y;
  for_accumulators(args.acc, [=](int64_t j, int32_t value) {
    y[j] = portable_round_clamp(static_cast<float>(value) * multiplier, epilogue);
  });
}

void dequantize_run(const DequantizeArgs& args) {
  const float scale_a = args.scale_a;
  const float* scale_b = args.scale_b;
  const float* bias = args.bias;
  float* y = args.y;
  if (bias == nullptr) {
    for_accumulators(args.acc, [=](int64_t j, int32_t value) {
      y[j] = static_cast<float>(value) * (scale_a * scale_b[j]);
    });
  } else {
    for_accumulators(args.acc, [=](int64_t j, int32_t value) {
      y[j] = static_cast<float>(value) * (scale_a * scale_b[j]) + bias[j];
    });
  }
}

template <typename T>
int32_t sum(const T* x, int64_t n) {
  int32_t total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

// A comparison with a NaN is false, so NaNs never replace anything.
Range range(const float* x, int64_t n) {
  constexpr int kLanes = 32;
  float lo[kLanes] = {}, hi[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      lo[j] = x[i + j] < lo[j] ? x[i + j] : lo[j];
      hi[j] = x[i + j] > hi[j] ? x[i + j] : hi[j];
    }
  }
  for (; i < n; ++i) {
    lo[0] = x[i] < lo[0] ? x[i] : lo[0];
    hi[0] = x[i] > hi[0] ? x[i] : hi[0];
  }
  for (int j = 1; j < kLanes; ++j) {
    lo[0] = lo[j] < lo[0] ? lo[j] : lo[0];
    hi[0] = hi[j] > hi[0] ? hi[j] : hi[0];
  }
  return {lo[0], hi[0]};
}

// Four rows and 16 columns at a time: each column's four bytes leave in one store.
void transpose(const act_t* x, ptrdiff_t stride, int k, int n, int8_t* y) {
  constexpr int kColumns = 16;
  const auto column = static_cast<ptrdiff_t>(k);
  int j0 = 0;
  for (; j0 + kColumns <= n; j0 += kColumns) {
    int8_t* to = y + j0 * column;
    int i = 0;
    for (; i + 4 <= k; i += 4) {
      const act_t* from = x + i * stride + j0;
      uint32_t words[kColumns];
      for (int j = 0; j < kColumns; ++j) {
        const auto byte = [&](int r) {
          return static_cast<uint32_t>(static_cast<uint8_t>(from[r * stride + j] - kActOffset));
        };
        words[j] = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
      }
      for (int j = 0; j < kColumns; ++j) __builtin_memcpy(to + j * column + i, words + j, 4);
    }
    for (; i < k; ++i) {
      for (int j = 0; j < kColumns; ++j) {
        to[j * column + i] = static_cast<int8_t>(x[i * stride + j0 + j] - kActOffset);
      }
    }
  }
  for (; j0 < n; ++j0) {
    for (int i = 0; i < k; ++i) {
      y[j0 * column + i] = static_cast<int8_t>(x[i * stride + j0] - kActOffset);
    }
  }
}

constexpr Kernel make_kernel(const char* name, Isa isa) {
  return {name,       isa,         correct, requantize_run, dequantize_run,
          sum<act_t>, sum<int8_t>, range,   transpose};
}

}  // namespace
}  // namespace zeropoint::accumulator_s32

#undef ZEROPOINT_INDEPENDENT
