// SHA-256 as FIPS 180-4 specifies it.
#pragma once

#include <cstddef>
#include <string>

namespace zeropoint_run {

// 64 hexadecimal digits in lower case.
std::string sha256(const void* data, size_t bytes);

}  // namespace zeropoint_run
