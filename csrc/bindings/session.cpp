#include "runtime/session.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <memory>
#include <utility>

#include "bindings/bindings.h"
#include "runtime/model_reader.h"

namespace zeropoint::bindings {
namespace {

using Arrays = std::vector<py::array>;
using Shapes = std::vector<std::vector<int64_t>>;

// A session and the Python bytes it reads from, which are not copied.
struct PySession {
  py::object content;
  std::unique_ptr<Session> session;
};

using Named = std::vector<std::pair<std::string, std::string>>;

std::unique_ptr<Session> make_session(Model model, int threads, Isa isa, const std::string& io,
                                      const Named& named_io, bool fuse, const std::string& cache) {
  return std::make_unique<Session>(std::move(model), threads, isa, BorderRequest{io, named_io},
                                   fuse, cache);
}

std::unique_ptr<PySession> from_file(const py::bytes& path, int threads, const std::string& isa,
                                     const std::string& io, const Named& named_io, bool fuse,
                                     const py::bytes& cache) {
  const std::string name = path, cache_path = cache;
  auto made = std::make_unique<PySession>();
  const py::gil_scoped_release release;
  const Isa level = resolve_isa(isa);
  made->session = make_session(read_model_file(name, Checksum::later), threads, level, io, named_io,
                               fuse, cache_path);
  return made;
}

std::unique_ptr<PySession> from_bytes(const py::bytes& content, const std::string& source,
                                      int threads, const std::string& isa, const std::string& io,
                                      const Named& named_io, bool fuse, const py::bytes& cache) {
  auto made = std::make_unique<PySession>();
  made->content = content;
  const std::string cache_path = cache;
  MemoryBlock block;
  block.data = reinterpret_cast<const unsigned char*>(PyBytes_AS_STRING(content.ptr()));
  block.size = static_cast<size_t>(PyBytes_GET_SIZE(content.ptr()));
  const Isa level = resolve_isa(isa);
  std::unique_ptr<Session> session;
  {
    const py::gil_scoped_release release;
    session =
        make_session(read_model(block, source), threads, level, io, named_io, fuse, cache_path);
  }
  made->session = std::move(session);
  return made;
}

// Name, dtype as callers see it, and shape.
py::list tensor_infos(const Session& session, bool inputs) {
  py::list infos;
  const auto& values = inputs ? session.model().inputs : session.model().outputs;
  for (size_t i = 0; i < values.size(); ++i) {
    const DType dtype = inputs ? session.input_dtype(i) : session.output_dtype(i);
    infos.append(py::make_tuple(values[i]->name, dtype_name(dtype), shape_tuple(values[i]->shape)));
  }
  return infos;
}

Shape to_shape(const std::vector<int64_t>& dims) {
  Shape shape;
  for (const int64_t d : dims) shape.push_back(d);
  return shape;
}

// The arrays of one call: checked inputs, and outputs allocated by their plan.
struct Call {
  std::shared_ptr<const ExecutionPlan> plan;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  Arrays results;

  Call(const Session& session, const Arrays& arrays) {
    const auto& wanted = session.model().inputs;
    std::vector<Shape> shapes;
    for (size_t i = 0; i < arrays.size(); ++i) {
      // The Python class has checked all this and given better messages; memory safety does not
      // depend on it.
      if (i >= wanted.size() || !arrays[i].dtype().equal(numpy_dtype(session.input_dtype(i))) ||
          !(arrays[i].flags() & py::array::c_style)) {
        throw Error(ErrorCode::invalid_argument,
                    "input " + std::to_string(i) + " is not a C-contiguous array of its dtype");
      }
      shapes.push_back(to_shape({arrays[i].shape(), arrays[i].shape() + arrays[i].ndim()}));
      inputs.push_back(arrays[i].data());
    }
    {
      const py::gil_scoped_release release;
      plan = session.plan(shapes);
    }
    for (size_t i = 0; i < session.model().outputs.size(); ++i) {
      results.emplace_back(numpy_dtype(session.output_dtype(i)),
                           numpy_shape(session.output_shape(*plan, i)));
      outputs.push_back(results.back().mutable_data());
    }
  }
};

Arrays run(const PySession& self, const Arrays& arrays) {
  Call call(*self.session, arrays);
  {
    const py::gil_scoped_release release;
    self.session->run(*call.plan, call.inputs, call.outputs);
  }
  return std::move(call.results);
}

// Lets a Python function see one activation as a read-only array, without copying it. The array
// must not outlive the call, since the next node writes there.
void show(const py::function& callback, const ValueInfo& value, const Shape& shape,
          const void* data, const std::shared_ptr<const void>& owner) {
  using Owner = std::shared_ptr<const void>;
  const py::gil_scoped_acquire acquire;
  const py::capsule keep(new Owner(owner), [](void* p) { delete static_cast<Owner*>(p); });
  const py::array array(numpy_dtype(value.dtype), numpy_shape(shape), data, keep);
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  callback(value.name, array);
  if (array.ref_count() > 1) {
    throw Error(ErrorCode::invalid_argument,
                "the observer kept a reference to the array of '" + value.name +
                    "', which is valid during the call only; keep a copy (array.copy())");
  }
}

Arrays observe(const PySession& self, const Arrays& arrays, const py::function& callback) {
  Call call(*self.session, arrays);
  {
    const py::gil_scoped_release release;
    self.session->observe(*call.plan, call.inputs, call.outputs,
                          [&](const ValueInfo& value, const Shape& shape, const void* data,
                              const std::shared_ptr<const void>& owner) {
                            show(callback, value, shape, data, owner);
                          });
  }
  return std::move(call.results);
}

py::tuple profile(const PySession& self, const Arrays& arrays, int repeats) {
  const Call call(*self.session, arrays);
  Session::Profile result;
  {
    const py::gil_scoped_release release;
    result = self.session->profile(*call.plan, call.inputs, repeats);
  }
  return py::make_tuple(result.run_seconds, result.node_seconds);
}

std::shared_ptr<const ExecutionPlan> plan_for(const PySession& self, const Shapes& dims) {
  std::vector<Shape> shapes;
  for (const auto& d : dims) shapes.push_back(to_shape(d));
  const py::gil_scoped_release release;
  return self.session->plan(shapes);
}

py::list nodes(const PySession& self, const Shapes& shapes) {
  const auto plan = plan_for(self, shapes);
  py::list rows;
  for (const Session::NodeRow& row : self.session->nodes(*plan)) {
    py::dict d;
    d["name"] = row.node->name;
    d["op"] = row.node->op;
    d["precision"] = row.precision;
    d["kernel"] = row.kernel;
    d["isa"] = row.isa;
    d["macs"] = row.macs;
    d["output_shape"] = shape_tuple(row.output_shape);
    d["reason"] = row.node->reason;
    rows.append(d);
  }
  return rows;
}

py::dict memory(const PySession& self, const Shapes& shapes) {
  const Session::Memory memory = self.session->memory(*plan_for(self, shapes));
  py::dict d;
  d["file_bytes"] = memory.file_bytes;
  d["constant_bytes"] = memory.constant_bytes;
  d["packed_bytes"] = memory.packed_bytes;
  d["arena_bytes"] = memory.arena_bytes;
  return d;
}

// State, path and problem.
py::tuple cache_report(const PySession& self) {
  const CacheReport& report = self.session->cache();
  return py::make_tuple(cache_state_name(report.state), py::bytes(report.path),
                        py::bytes(report.problem));
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<PySession>(m, "Session")
      .def_static("from_file", from_file, py::arg("path"), py::arg("threads"), py::arg("isa"),
                  py::arg("io") = "as_file", py::arg("named_io") = Named{}, py::arg("fuse") = true,
                  py::arg("cache") = py::bytes())
      .def_static("from_bytes", from_bytes, py::arg("content"), py::arg("source"),
                  py::arg("threads"), py::arg("isa"), py::arg("io") = "as_file",
                  py::arg("named_io") = Named{}, py::arg("fuse") = true,
                  py::arg("cache") = py::bytes())
      .def_property_readonly("inputs",
                             [](const PySession& s) { return tensor_infos(*s.session, true); })
      .def_property_readonly("outputs",
                             [](const PySession& s) { return tensor_infos(*s.session, false); })
      .def_property_readonly("name", [](const PySession& s) { return s.session->model().name; })
      .def_property_readonly("producer",
                             [](const PySession& s) { return s.session->model().producer; })
      .def_property_readonly("threads", [](const PySession& s) { return s.session->threads(); })
      .def_property_readonly("isa", [](const PySession& s) { return isa_name(s.session->isa()); })
      .def_property_readonly("cache", cache_report)
      .def("run", run, py::arg("inputs"))
      .def("observe", observe, py::arg("inputs"), py::arg("callback"))
      .def("profile", profile, py::arg("inputs"), py::arg("repeats"))
      .def("nodes", nodes, py::arg("shapes"))
      .def("memory", memory, py::arg("shapes"));
}

}  // namespace zeropoint::bindings
