#include "runtime/statistics.h"

#include <cmath>

#include "base/error.h"
#include "bindings/bindings.h"

namespace zeropoint::bindings {
namespace {

constexpr int kDense = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;

const float* float_data(const py::array& x, const char* function) {
  if (!py::isinstance<py::array_t<float>>(x) || (x.flags() & kDense) != kDense) {
    throw Error(ErrorCode::invalid_argument,
                std::string(function) + ": needs an aligned C-contiguous float32 array");
  }
  if (x.size() == 0) throw Error(ErrorCode::invalid_argument, std::string(function) + ": is empty");
  return static_cast<const float*>(x.data());
}

py::object min_max_of(const py::array& x) {
  const float* data = float_data(x, "min_max");
  const int64_t n = x.size();
  float lo = 0.0f;
  float hi = 0.0f;
  bool finite = false;
  {
    const py::gil_scoped_release release;
    finite = min_max(data, n, &lo, &hi);
  }
  if (!finite) return py::none();
  return py::make_tuple(lo, hi);
}

void add_histogram(const py::array& x, float lo, float width, py::array counts) {
  const float* data = float_data(x, "histogram");
  const int64_t n = x.size();
  if (!py::isinstance<py::array_t<int64_t>>(counts) || counts.ndim() != 1 || counts.size() < 1 ||
      counts.size() > kMaxBins || !counts.writeable() || (counts.flags() & kDense) != kDense) {
    throw Error(ErrorCode::invalid_argument,
                "histogram: counts must be a writable contiguous int64 vector of 1 to " +
                    std::to_string(kMaxBins) + " bins");
  }
  if (!std::isfinite(lo) || !std::isfinite(width) || !(width > 0.0f)) {
    throw Error(ErrorCode::invalid_argument, "histogram: needs a finite lo and a finite width > 0");
  }
  auto* bins = static_cast<int64_t*>(counts.mutable_data());
  const int64_t bin_count = counts.size();
  const py::gil_scoped_release release;
  histogram(data, n, lo, width, bin_count, bins);
}

}  // namespace

void bind_statistics(py::module_& m) {
  m.def("min_max", min_max_of, py::arg("x"));
  m.def("histogram", add_histogram, py::arg("x"), py::arg("lo"), py::arg("width"),
        py::arg("counts"));
}

}  // namespace zeropoint::bindings
