// The border between C and C++: exceptions become a status and a message of the calling thread.
#pragma once

#include <string>

#include "base/error.h"
#include "zeropoint.h"

namespace zeropoint::capi {

// Records the message for zp_last_error() and returns `status`. Never throws.
zp_status fail(zp_status status, const char* message) noexcept;
// The same for the exception in flight.
zp_status fail_with_current_exception() noexcept;

// Runs `body`, which throws where it fails.
template <typename Body>
zp_status guarded(const Body& body) noexcept {
  try {
    body();
    return ZP_OK;
  } catch (...) {
    return fail_with_current_exception();
  }
}

// Throws unless the pointer is there; `what` names the argument.
inline void require(const void* pointer, const char* what) {
  if (pointer == nullptr) {
    throw Error(ErrorCode::invalid_argument, std::string(what) + " must not be NULL");
  }
}

}  // namespace zeropoint::capi
