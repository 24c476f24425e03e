// Huge pages: one page fault and one entry of the TLB for what takes 512 small pages. Weights and
// activations are swept once a run: with small pages, address translation, and what scattered
// pages do to the second-level cache, cost a tenth of the layers with many weights.
#pragma once

#include <cstddef>

namespace zeropoint {

// Of most systems; elsewhere only an alignment.
inline constexpr size_t kHugePage = size_t{2} << 20;

// Asks for huge pages for those of the range that lie in it as a whole. Advice: it may be refused.
void advise_huge_pages(void* begin, size_t bytes);

}  // namespace zeropoint
