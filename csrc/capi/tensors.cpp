#include "capi/tensors.h"

#include <cstdint>

#include "runtime/gguf.h"

namespace zeropoint::capi {
namespace {

[[noreturn]] void fail(const Session& session, const std::string& what) {
  throw Error(ErrorCode::invalid_argument, session.model().source + ": " + what);
}

void check_buffer(const Session& session, const char* kind, const ValueInfo& value, DType dtype,
                  const Shape& shape, const void* data, size_t bytes, int64_t expected) {
  const std::string name = std::string(kind) + " " + gguf::quoted(value.name);
  if (data == nullptr) fail(session, name + ": data must not be NULL");
  if (reinterpret_cast<uintptr_t>(data) % static_cast<size_t>(dtype_size(dtype)) != 0) {
    fail(session, name + ": data must lie on a multiple of " + std::to_string(dtype_size(dtype)) +
                      " bytes, the size of one " + dtype_name(dtype));
  }
  if (bytes != static_cast<size_t>(expected)) {
    fail(session, name + " has " + std::to_string(bytes) + " bytes; " + dtype_name(dtype) + " " +
                      shape.to_string() + " takes " + std::to_string(expected));
  }
}

void check_count(const Session& session, size_t count, size_t wanted, const char* kind) {
  if (count != wanted) {
    fail(session, "has " + std::to_string(wanted) + " " + kind + ", not " + std::to_string(count));
  }
}

Shape from_c(const Session& session, const zp_shape& shape, const std::string& name) {
  if (shape.rank < 0 || shape.rank > ZP_MAX_RANK) {
    fail(session, "input " + gguf::quoted(name) + ": a rank of " + std::to_string(shape.rank) +
                      " is not from 0 to " + std::to_string(ZP_MAX_RANK));
  }
  Shape result;
  for (int32_t d = 0; d < shape.rank; ++d) result.push_back(shape.dims[d]);
  return result;
}

}  // namespace

void check_disjoint(const Session& session, const ExecutionPlan& plan, const zp_input* inputs,
                    const zp_output* outputs) {
  const auto& model = session.model();
  const auto overlap = [](const void* a, size_t a_bytes, const void* b, size_t b_bytes) {
    const auto x = reinterpret_cast<uintptr_t>(a), y = reinterpret_cast<uintptr_t>(b);
    return x < y + b_bytes && y < x + a_bytes;
  };
  for (size_t i = 0; i < model.outputs.size(); ++i) {
    const std::string name =
        "output " + gguf::quoted(model.outputs[i]->name) + " shares memory with ";
    for (size_t k = 0; k < plan.input_shapes().size(); ++k) {
      if (overlap(outputs[i].data, outputs[i].bytes, inputs[k].data, inputs[k].bytes)) {
        fail(session, name + "input " + gguf::quoted(model.inputs[k]->name));
      }
    }
    for (size_t k = 0; k < i; ++k) {
      if (overlap(outputs[i].data, outputs[i].bytes, outputs[k].data, outputs[k].bytes)) {
        fail(session, name + "output " + gguf::quoted(model.outputs[k]->name));
      }
    }
  }
}

zp_dtype to_c(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ZP_FLOAT32;
    case DType::s8:
      return ZP_INT8;
    case DType::u8:
      return ZP_UINT8;
    case DType::s32:
      return ZP_INT32;
    case DType::s64:
      return ZP_INT64;
  }
  throw Error(ErrorCode::unsupported, "a dtype that this interface does not know");
}

zp_shape to_c(const Shape& shape) {
  zp_shape c{};
  c.rank = shape.rank();
  for (int d = 0; d < shape.rank(); ++d) c.dims[d] = shape[d];
  return c;
}

std::shared_ptr<const ExecutionPlan> plan_of(const Session& session, const zp_shape* shapes,
                                             size_t count) {
  const auto& inputs = session.model().inputs;
  check_count(session, count, inputs.size(), "inputs");
  std::vector<Shape> concrete;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (shapes != nullptr) {
      concrete.push_back(from_c(session, shapes[i], inputs[i]->name));
      continue;
    }
    for (const int64_t d : inputs[i]->shape) {
      if (d < 0) {
        fail(session, "input " + gguf::quoted(inputs[i]->name) + " has the shape " +
                          inputs[i]->shape.to_string() + " with free dimensions; give its shape");
      }
    }
    concrete.push_back(inputs[i]->shape);
  }
  return session.plan(concrete);
}

std::vector<const void*> input_pointers(const Session& session, const ExecutionPlan& plan,
                                        const zp_input* inputs) {
  const auto& values = session.model().inputs;
  if (!values.empty()) require(inputs, "inputs");
  std::vector<const void*> pointers;
  for (size_t i = 0; i < values.size(); ++i) {
    const Shape& shape = plan.input_shapes()[i];
    const DType dtype = session.input_dtype(i);
    const int64_t expected = checked_mul(shape.elements(), dtype_size(dtype), "an input");
    check_buffer(session, "input", *values[i], dtype, shape, inputs[i].data, inputs[i].bytes,
                 expected);
    pointers.push_back(inputs[i].data);
  }
  return pointers;
}

std::vector<void*> output_pointers(const Session& session, const ExecutionPlan& plan,
                                   const zp_output* outputs, size_t count) {
  const auto& values = session.model().outputs;
  check_count(session, count, values.size(), "outputs");
  if (!values.empty()) require(outputs, "outputs");
  std::vector<void*> pointers;
  for (size_t i = 0; i < values.size(); ++i) {
    check_buffer(session, "output", *values[i], session.output_dtype(i),
                 session.output_shape(plan, i), outputs[i].data, outputs[i].bytes,
                 session.output_bytes(plan, i));
    pointers.push_back(outputs[i].data);
  }
  return pointers;
}

}  // namespace zeropoint::capi
