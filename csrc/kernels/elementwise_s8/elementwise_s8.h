// elementwise_s8: add, multiply and 256-entry tables on runs of activations, and the conversions
// between float32 and int8.
//
// A binary operand with step 0 is one value used for the whole run; with step 1 it is a run of its
// own. Operators turn broadcasting into such runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "kernels/registry.h"
#include "quant/requantize.h"

namespace zeropoint::elementwise_s8 {

struct BinaryArgs {
  const act_t* a = nullptr;
  const act_t* b = nullptr;
  int a_step = 1, b_step = 1;  // 0 or 1
  act_t* y = nullptr;
  int64_t n = 0;
  int32_t zero_a = 0, zero_b = 0;
  // add: the two multipliers of zeropoint::add; mul: multiplier_a is its m, multiplier_b unused.
  // Finite.
  float multiplier_a = 0.0f, multiplier_b = 0.0f;
  OutputClamp clamp;
};

struct LookupArgs {
  const act_t* x = nullptr;
  const act_t* table = nullptr;  // [256], indexed by the stored value minus kActMin
  act_t* y = nullptr;
  int64_t n = 0;
};

struct QuantizeArgs {
  const float* x = nullptr;
  act_t* y = nullptr;
  int64_t n = 0;
  float scale = 1.0f;
  OutputClamp clamp;
};

struct DequantizeArgs {
  const act_t* x = nullptr;
  float* y = nullptr;
  int64_t n = 0;
  QuantParams params;
};

struct Kernel {
  const char* name;  // elementwise_s8_<lanes>_<isa>
  Isa isa;
  void (*add)(const BinaryArgs&);
  void (*mul)(const BinaryArgs&);
  void (*lookup)(const LookupArgs&);
  void (*quantize)(const QuantizeArgs&);
  void (*dequantize)(const DequantizeArgs&);
};

KernelSpan<Kernel> kernels();  // best first
const Kernel& select(IsaMask mask);

}  // namespace zeropoint::elementwise_s8
