// The parts of the extension module zeropoint._core: conversion and the GIL, no logic.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "base/shape.h"

namespace zeropoint::bindings {

namespace py = pybind11;

void bind_errors(py::module_& m);
void bind_info(py::module_& m);
void bind_session(py::module_& m);
void bind_statistics(py::module_& m);

inline py::dtype numpy_dtype(DType dtype) { return py::dtype(std::string(dtype_name(dtype))); }

inline py::tuple shape_tuple(const Shape& shape) {
  py::tuple dims(shape.rank());
  for (int i = 0; i < shape.rank(); ++i) dims[static_cast<size_t>(i)] = shape[i];
  return dims;
}

inline std::vector<py::ssize_t> numpy_shape(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

}  // namespace zeropoint::bindings
