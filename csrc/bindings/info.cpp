// What was built, what this CPU has, what it can reach.
#include <pybind11/stl.h>

#include "base/cpu_affinity.h"
#include "bindings/bindings.h"
#include "cpu/isa.h"
#include "kernels/accumulator_s32/accumulator_s32.h"
#include "kernels/ceiling/ceiling.h"
#include "kernels/depthwise_f32/depthwise_f32.h"
#include "kernels/depthwise_s8/depthwise_s8.h"
#include "kernels/elementwise_f32/elementwise_f32.h"
#include "kernels/elementwise_s8/elementwise_s8.h"
#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/layer_norm_f32/layer_norm_f32.h"
#include "kernels/pool_f32/pool_f32.h"
#include "kernels/pool_s8/pool_s8.h"
#include "runtime/build_info.h"

namespace zeropoint::bindings {
namespace {

py::dict build_info_dict() {
  const BuildInfo info = build_info();
  py::dict d;
  d["version"] = info.version;
  d["compiler"] = info.compiler;
  d["flags"] = info.flags;
  d["build_type"] = info.build_type;
  d["isa_levels"] = info.isa_levels;
  return d;
}

py::list isa_level_dicts() {
  py::list rows;
  for (const IsaLevel& level : isa_levels()) {
    py::dict row;
    row["name"] = level.name;
    row["features"] = level.features;
    row["detected"] = level.detected();
    rows.append(row);
  }
  return rows;
}

std::vector<std::string> detected_names() {
  std::vector<std::string> names;
  for (const Isa isa : detected_isa_levels()) names.emplace_back(isa_name(isa));
  return names;
}

py::dict measure_ceilings(const std::string& isa) {
  const IsaMask mask = isa_mask(resolve_isa(isa));
  py::dict ceilings;
  for (const bool integer : {true, false}) {
    const ceiling::Kernel& kernel = ceiling::select(integer, mask);
    double macs_per_s = 0.0;
    {
      const py::gil_scoped_release release;
      macs_per_s = ceiling::measure(kernel);
    }
    py::dict row;
    row["kernel"] = kernel.name;
    row["instruction"] = kernel.instruction;
    row["isa"] = isa_name(kernel.isa);
    row["macs_per_s"] = macs_per_s;
    ceilings[integer ? "int8" : "float32"] = row;
  }
  return ceilings;
}

template <typename Kernel>
void add_family(py::list& rows, const char* family, const KernelSpan<Kernel>& kernels) {
  for (const Kernel& kernel : kernels) {
    rows.append(py::make_tuple(family, kernel.name, isa_name(kernel.isa)));
  }
}

py::list kernel_names() {
  py::list rows;
  add_family(rows, "gemm_s8", gemm_s8::kernels());
  add_family(rows, "depthwise_s8", depthwise_s8::kernels());
  add_family(rows, "elementwise_s8", elementwise_s8::kernels());
  add_family(rows, "pool_s8", pool_s8::kernels());
  add_family(rows, "accumulator_s32", accumulator_s32::kernels());
  add_family(rows, "gemm_f32", gemm_f32::kernels());
  add_family(rows, "depthwise_f32", depthwise_f32::kernels());
  add_family(rows, "elementwise_f32", elementwise_f32::kernels());
  add_family(rows, "pool_f32", pool_f32::kernels());
  add_family(rows, "layer_norm_f32", layer_norm_f32::kernels());
  add_family(rows, "ceiling", ceiling::kernels());
  return rows;
}

}  // namespace

void bind_info(py::module_& m) {
  m.def("build_info", build_info_dict);
  m.def("isa_levels", isa_level_dicts);
  m.def("detected_isa_levels", detected_names);
  m.def(
      "resolve_isa", [](const std::string& name) { return isa_name(resolve_isa(name)); },
      py::arg("name") = "");
  m.def("usable_cpus", usable_cpus);
  m.def("measure_ceilings", measure_ceilings, py::arg("isa") = "");
  m.def("kernel_names", kernel_names);
}

}  // namespace zeropoint::bindings
