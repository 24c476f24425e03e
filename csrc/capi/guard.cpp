#include "capi/guard.h"

#include <exception>
#include <new>

namespace zeropoint::capi {
namespace {

// What a thread reads where there was no memory for the message itself.
constexpr const char* kNoMemory = "out of memory; use a smaller input or model";

std::string& message_buffer() {
  thread_local std::string message;
  return message;
}
thread_local const char* current_message = "";

zp_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_model:
      return ZP_INVALID_MODEL;
    case ErrorCode::unsupported:
      return ZP_UNSUPPORTED;
    case ErrorCode::invalid_argument:
      return ZP_INVALID_ARGUMENT;
    case ErrorCode::isa:
      return ZP_ISA;
    case ErrorCode::io:
      return ZP_IO;
    case ErrorCode::out_of_memory:
      return ZP_OUT_OF_MEMORY;
  }
  return ZP_INTERNAL;
}

}  // namespace

zp_status fail(zp_status status, const char* message) noexcept {
  try {
    message_buffer() = message;
    current_message = message_buffer().c_str();
  } catch (...) {
    current_message = kNoMemory;
  }
  return status;
}

zp_status fail_with_current_exception() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return fail(status_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(ZP_OUT_OF_MEMORY, kNoMemory);
  } catch (const std::exception& error) {
    return fail(ZP_INTERNAL, error.what());
  } catch (...) {
    return fail(ZP_INTERNAL, "an exception of an unknown type");
  }
}

}  // namespace zeropoint::capi

const char* zp_last_error(void) { return zeropoint::capi::current_message; }

const char* zp_status_name(zp_status status) {
  switch (status) {
    case ZP_OK:
      return "ok";
    case ZP_INVALID_MODEL:
      return "invalid model";
    case ZP_UNSUPPORTED:
      return "unsupported";
    case ZP_INVALID_ARGUMENT:
      return "invalid argument";
    case ZP_ISA:
      return "ISA level";
    case ZP_IO:
      return "input/output";
    case ZP_OUT_OF_MEMORY:
      return "out of memory";
    case ZP_INTERNAL:
      return "internal error";
  }
  return "unknown status";
}
