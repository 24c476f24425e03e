// ceiling: what this machine's multiply-accumulate instructions reach with all operands in
// registers, one thread. Speeds are reported as shares of these, measured in the same run.
#pragma once

#include <cstdint>

#include "cpu/isa.h"
#include "kernels/registry.h"

namespace zeropoint::ceiling {

struct Kernel {
  const char* name;         // ceiling_<instruction>_<isa>
  const char* instruction;  // as the manual writes it; a sequence, where several are needed
  Isa isa;
  bool integer;                        // int8 products (exact); otherwise float32
  int64_t (*run)(int64_t iterations);  // returns the multiply-accumulates performed
};

KernelSpan<Kernel> kernels();  // best first
// The level's best integer (or float) instruction or sequence of them.
const Kernel& select(bool integer, IsaMask mask);

// Multiply-accumulates per second, the best of several short timings.
double measure(const Kernel& kernel);

}  // namespace zeropoint::ceiling
