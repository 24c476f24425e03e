// Engine errors become the classes of zeropoint.errors.
#include <exception>
#include <new>

#include "base/error.h"
#include "bindings/bindings.h"

namespace zeropoint::bindings {
namespace {

const char* class_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_model:
      return "ModelError";
    case ErrorCode::unsupported:
      return "UnsupportedError";
    case ErrorCode::invalid_argument:
      return "InputError";
    case ErrorCode::isa:
      return "IsaError";
    case ErrorCode::io:
      return "FileError";
    case ErrorCode::out_of_memory:
      return "OutOfMemoryError";
  }
  return "Error";
}

void raise(const char* name, const std::string& message) {
  try {
    const py::object type = py::module_::import("zeropoint.errors").attr(name);
    // A path, and what an altered file says, need not be UTF-8.
    const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
        message.data(), static_cast<py::ssize_t>(message.size()), "backslashreplace"));
    PyErr_SetObject(type.ptr(), text.ptr());
  } catch (py::error_already_set& error) {
    error.restore();
  }
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const Error& error) {
    raise(class_name(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    raise("OutOfMemoryError", "out of memory; use a smaller input or model");
  }
}

}  // namespace

void bind_errors(py::module_&) { py::register_local_exception_translator(translate); }

}  // namespace zeropoint::bindings
