// What every kernel family's registry shares.
//
// A family has a contract header (its Kernel struct), one file an ISA that exports a span of
// kernels, and a registry.cpp that joins those spans, best first. Selection is the first entry
// that the mask allows and that applies: a pure function, so any machine can tell what another
// would choose. Tests and benchmarks iterate kernels(); nobody lists them twice.
//
// An alternative family stands in for another one where it is faster: it has kernels for some
// levels only, and a select() that may answer none.
#pragma once

#include <cstddef>

#include "cpu/isa.h"

namespace zeropoint {

template <typename Kernel>
struct KernelSpan {
  const Kernel* data = nullptr;
  size_t count = 0;
  const Kernel* begin() const { return data; }
  const Kernel* end() const { return data + count; }
};

// Every family but the alternative ones has a portable kernel that applies to everything, so the
// search never fails.
template <typename Kernel, typename Applies>
const Kernel& first_allowed(const KernelSpan<Kernel>& kernels, IsaMask mask,
                            const Applies& applies) {
  const Kernel* last = nullptr;
  for (const Kernel& kernel : kernels) {
    last = &kernel;
    if (mask.has(kernel.isa) && applies(kernel)) break;
  }
  return *last;
}

}  // namespace zeropoint
