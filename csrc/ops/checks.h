// What operators check about a node when they are made. Messages say what was found and what was
// expected; the runtime adds the node's name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/shape.h"
#include "ops/op.h"
#include "quant/requantize.h"

namespace zeropoint {

// Between `least` and `most` inputs, the first `least` of them present.
void expect_inputs(const NodeInfo& node, size_t least, size_t most);
void expect_outputs(const NodeInfo& node, size_t count);

void expect_dtype(const ValueInfo& value, DType dtype);
void expect_same_dtype(const ValueInfo& input, const ValueInfo& output);
void expect_rank(const Shape& shape, int rank, const char* layout);
// The operator runs in float32 only: Error(unsupported) for an int8 node, saying so.
void expect_float_only(const NodeInfo& node);
// float32 or int8, by the first input; Error(unsupported) for other dtypes. True: int8.
bool expect_float_or_int8(const NodeInfo& node);

// The checked per-tensor parameters of an int8 value, in the stored domain; a constant's too.
QuantParams quant_of(const ValueInfo& value);
// int8 operators that move values about need input and output to mean the same by a byte; for
// other dtypes only the dtype is compared.
void expect_same_meaning(const ValueInfo& input, const ValueInfo& output);

// A multiplier made of scales: Error when it is not finite, as scales that are absurdly far apart
// make it.
float checked_multiplier(float multiplier);

// The full range of an int8 output, or the fused one of the attributes qmin and qmax.
OutputClamp full_clamp(const ValueInfo& output);
OutputClamp fused_clamp(const NodeInfo& node);
// Raw int32 accumulators have no fused activation: Error for qmin and qmax.
void expect_no_activation(const NodeInfo& node);

// The fused clip of a float32 operator: attributes clip_min and clip_max; infinite where absent.
struct FloatClip {
  float lo, hi;
};
FloatClip fused_clip(const Attributes& attributes);

// An axis of [-rank, rank) as [0, rank).
int checked_axis(int64_t axis, int rank);

}  // namespace zeropoint
