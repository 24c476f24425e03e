#include "bindings/bindings.h"
#include "runtime/build_info.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The engine of zeropoint; use the package's Python modules.";
  m.attr("__version__") = zeropoint::build_info().version;
  zeropoint::bindings::bind_errors(m);
  zeropoint::bindings::bind_info(m);
  zeropoint::bindings::bind_session(m);
  zeropoint::bindings::bind_statistics(m);
}
