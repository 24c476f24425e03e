// For registry.cpp files alone: the spans of a family's ISA files as one list.
#pragma once

#include <initializer_list>
#include <vector>

#include "kernels/registry.h"

namespace zeropoint {

template <typename Kernel>
std::vector<Kernel> join(std::initializer_list<KernelSpan<Kernel>> spans) {
  std::vector<Kernel> all;
  for (const KernelSpan<Kernel>& span : spans) all.insert(all.end(), span.begin(), span.end());
  return all;
}

}  // namespace zeropoint
