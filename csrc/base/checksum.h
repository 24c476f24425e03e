// The checksum of model files and of packed-weights files: against damage, not against forgery.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zeropoint {

// The sum of little-endian 64-bit words w[i], zeros completing the last, weighted by 2 i + 1,
// modulo 2^64.
uint64_t weighted_words(const unsigned char* bytes, size_t size);

}  // namespace zeropoint
