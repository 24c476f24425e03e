// Conversions between C's tensors and the engine's.
#pragma once

#include <string>
#include <vector>

#include "base/shape.h"
#include "capi/guard.h"
#include "runtime/session.h"
#include "zeropoint.h"

// The handle that callers hold.
struct zp_session {
  zeropoint::Session session;
};

namespace zeropoint::capi {

static_assert(ZP_MAX_RANK == Shape::kMaxRank, "the C structure holds every shape");

inline void check_index(size_t index, size_t count, const char* of) {
  if (index >= count) {
    throw Error(ErrorCode::invalid_argument, "index " + std::to_string(index) +
                                                 " is out of range: there are " +
                                                 std::to_string(count) + " " + of);
  }
}

zp_dtype to_c(DType dtype);
zp_shape to_c(const Shape& shape);

// The plan for a caller's `count` shapes, which may be NULL where no input has a free dimension.
std::shared_ptr<const ExecutionPlan> plan_of(const Session& session, const zp_shape* shapes,
                                             size_t count);

// The addresses of a caller's buffers, each checked against the bytes of its tensor.
std::vector<const void*> input_pointers(const Session& session, const ExecutionPlan& plan,
                                        const zp_input* inputs);
std::vector<void*> output_pointers(const Session& session, const ExecutionPlan& plan,
                                   const zp_output* outputs, size_t count);

// The session reads inputs where they are: no output may share a byte with one, or with another
// output. For buffers that have passed the checks above.
void check_disjoint(const Session& session, const ExecutionPlan& plan, const zp_input* inputs,
                    const zp_output* outputs);

}  // namespace zeropoint::capi
