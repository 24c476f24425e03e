// The textbook form of pool_s8.
#pragma once

#include "kernels/pool_s8/pool_s8.h"

namespace zeropoint::reference {

void max_pool(const pool_s8::RunArgs& run);
void mean_pool(const pool_s8::RunArgs& run);

}  // namespace zeropoint::reference
