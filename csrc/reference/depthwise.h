// The textbook form of depthwise_s8: one scalar loop on unpacked weights.
#pragma once

#include "kernels/depthwise_s8/depthwise_s8.h"

namespace zeropoint::reference {

// `run.packed` is ignored; the weights are those of `layer`.
void depthwise(const depthwise_s8::PackArgs& layer, const depthwise_s8::RunArgs& run);

}  // namespace zeropoint::reference
