// What plain C++ multiply-adds reach on data in the first-level cache: the compiler's choice of
// instructions, so an indication of what the portable kernels can reach, not a property of the
// hardware.
#include "kernels/ceiling/ceiling_kernels.h"

namespace zeropoint::ceiling {
namespace {

constexpr int kColumns = 32;  // independent sums
constexpr int kDepth = 64;    // products of each sum in one iteration

// The tables are read through volatile pointers once a call, so that the compiler can neither
// compute the answer beforehand nor drop it.
int16_t* volatile int_table;
float* volatile float_table;
volatile int32_t int_sink;
volatile float float_sink;

int64_t multiply_add_s16(int64_t iterations) {
  static int16_t values[kDepth * (kColumns + 1)];
  int_table = values;
  const int16_t* table = int_table;
  int32_t acc[kColumns] = {};
  for (int64_t i = 0; i < iterations; ++i) {
    for (int k = 0; k < kDepth; ++k) {
      const int16_t* row = table + k * (kColumns + 1);
      for (int j = 0; j < kColumns; ++j) acc[j] += static_cast<int32_t>(row[kColumns]) * row[j];
    }
  }
  int32_t sum = 0;
  for (int32_t v : acc) sum ^= v;
  int_sink = sum;
  return iterations * kDepth * kColumns;
}

int64_t multiply_add_f32(int64_t iterations) {
  static float values[kDepth * (kColumns + 1)];
  float_table = values;
  const float* table = float_table;
  float acc[kColumns] = {};
  for (int64_t i = 0; i < iterations; ++i) {
    for (int k = 0; k < kDepth; ++k) {
      const float* row = table + k * (kColumns + 1);
      for (int j = 0; j < kColumns; ++j) acc[j] += row[kColumns] * row[j];
    }
  }
  float sum = 0.0f;
  for (float v : acc) sum += v;
  float_sink = sum;
  return iterations * kDepth * kColumns;
}

constexpr Kernel kKernels[] = {
    {"ceiling_multiply_add_s16_portable", "int32 += int16 * int16 (C++)", Isa::portable, true,
     multiply_add_s16},
    {"ceiling_multiply_add_f32_portable", "float += float * float (C++)", Isa::portable, false,
     multiply_add_f32},
};

}  // namespace

KernelSpan<Kernel> portable_kernels() { return {kKernels, 2}; }

}  // namespace zeropoint::ceiling
