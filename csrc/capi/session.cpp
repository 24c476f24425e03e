// Opening, querying and running sessions.
#include "runtime/session.h"

#include <cstring>

#include "capi/guard.h"
#include "capi/tensors.h"
#include "quant/activation.h"
#include "runtime/model_reader.h"

namespace zeropoint::capi {
namespace {

constexpr int32_t kMaxThreads = 1024;

// What the caller's structure says, as far as it goes: one of an older program is shorter.
zp_options read_options(const zp_options* given) {
  zp_options options = ZP_OPTIONS_INIT;
  if (given != nullptr) {
    const size_t size = given->struct_size;
    if (size < sizeof(size_t) || size > sizeof options) {
      throw Error(ErrorCode::invalid_argument,
                  "options.struct_size is " + std::to_string(size) +
                      ", which no version up to this one has; begin with ZP_OPTIONS_INIT, and link "
                      "the library that the header came with");
    }
    std::memcpy(&options, given, size);
  }
  if (options.threads == 0) options.threads = 1;
  if (options.threads < 1 || options.threads > kMaxThreads) {
    throw Error(ErrorCode::invalid_argument,
                "threads must be from 1 to 1024, not " + std::to_string(options.threads));
  }
  return options;
}

std::string text_or(const char* text, const char* fallback) {
  return text == nullptr || *text == '\0' ? fallback : text;
}

BorderRequest border_request(const zp_options& options) {
  BorderRequest request;
  request.all = text_or(options.io, "as_file");
  if (options.named_io_count > 0) require(options.named_io, "options.named_io");
  for (size_t i = 0; i < options.named_io_count; ++i) {
    const zp_io& io = options.named_io[i];
    require(io.name, "options.named_io[].name");
    require(io.dtype, "options.named_io[].dtype");
    request.named.emplace_back(io.name, io.dtype);
  }
  return request;
}

// `read` makes the Model, after the options are found good.
template <typename Read>
zp_status open(const zp_options* given, zp_session** session, const Read& read) {
  return guarded([&] {
    require(session, "session");
    const zp_options options = read_options(given);
    const Isa isa = resolve_isa(text_or(options.isa, ""));
    const BorderRequest request = border_request(options);
    *session = new zp_session{{read(), options.threads, isa, request, options.no_fusion == 0,
                               text_or(options.cache, "")}};
  });
}

void describe(const ValueInfo& value, DType dtype, zp_tensor_info* info) {
  zp_tensor_info made{};
  made.name = value.name.c_str();
  made.dtype = to_c(dtype);
  made.shape = to_c(value.shape);
  if (value.quantized) {  // parameters are those of the stored domain
    made.scale = value.quant.scale;
    made.zero_point = value.quant.zero_point - kActOffset + (dtype == DType::u8 ? 128 : 0);
  }
  *info = made;
}

}  // namespace
}  // namespace zeropoint::capi

using namespace zeropoint;        // NOLINT: this file implements functions outside
using namespace zeropoint::capi;  // NOLINT

zp_status zp_session_open(const char* path, const zp_options* options, zp_session** session) {
  return capi::open(options, session, [&] {
    require(path, "path");
    return read_model_file(path, Checksum::later);
  });
}

zp_status zp_session_open_memory(const void* data, size_t bytes, const zp_options* options,
                                 zp_session** session) {
  return capi::open(options, session, [&] {
    require(data, "data");
    MemoryBlock block;
    block.data = static_cast<const unsigned char*>(data);
    block.size = bytes;
    return read_model(block, "model");
  });
}

void zp_session_close(zp_session* session) { delete session; }

size_t zp_session_input_count(const zp_session* session) {
  return session == nullptr ? 0 : session->session.model().inputs.size();
}

size_t zp_session_output_count(const zp_session* session) {
  return session == nullptr ? 0 : session->session.model().outputs.size();
}

zp_status zp_session_input(const zp_session* session, size_t index, zp_tensor_info* info) {
  return guarded([&] {
    require(session, "session");
    require(info, "info");
    const auto& inputs = session->session.model().inputs;
    check_index(index, inputs.size(), "inputs");
    describe(*inputs[index], session->session.input_dtype(index), info);
  });
}

zp_status zp_session_output(const zp_session* session, size_t index, zp_tensor_info* info) {
  return guarded([&] {
    require(session, "session");
    require(info, "info");
    const auto& outputs = session->session.model().outputs;
    check_index(index, outputs.size(), "outputs");
    describe(*outputs[index], session->session.output_dtype(index), info);
  });
}

const char* zp_session_isa(const zp_session* session) {
  return session == nullptr ? nullptr : isa_name(session->session.isa());
}

int32_t zp_session_threads(const zp_session* session) {
  return session == nullptr ? 0 : session->session.threads();
}

zp_status zp_session_cache(const zp_session* session, zp_cache_info* info) {
  return guarded([&] {
    require(session, "session");
    require(info, "info");
    const CacheReport& report = session->session.cache();
    *info = {cache_state_name(report.state), report.path.c_str(), report.problem.c_str()};
  });
}

zp_status zp_session_output_shapes(const zp_session* session, const zp_shape* shapes,
                                   size_t input_count, zp_shape* outputs, size_t output_count) {
  return guarded([&] {
    require(session, "session");
    const Session& s = session->session;
    const auto plan = plan_of(s, shapes, input_count);
    const size_t wanted = s.model().outputs.size();
    if (output_count != wanted) {
      throw Error(ErrorCode::invalid_argument, s.model().source + ": has " +
                                                   std::to_string(wanted) + " outputs, not " +
                                                   std::to_string(output_count));
    }
    if (wanted > 0) require(outputs, "outputs");
    for (size_t i = 0; i < wanted; ++i) outputs[i] = to_c(s.output_shape(*plan, i));
  });
}

zp_status zp_session_run(const zp_session* session, const zp_input* inputs, const zp_shape* shapes,
                         size_t input_count, const zp_output* outputs, size_t output_count) {
  return guarded([&] {
    require(session, "session");
    const Session& s = session->session;
    const auto plan = plan_of(s, shapes, input_count);
    const std::vector<const void*> from = input_pointers(s, *plan, inputs);
    const std::vector<void*> to = output_pointers(s, *plan, outputs, output_count);
    check_disjoint(s, *plan, inputs, outputs);
    s.run(*plan, from, to);
  });
}

zp_status zp_session_memory(const zp_session* session, const zp_shape* shapes, size_t input_count,
                            zp_memory* memory) {
  return guarded([&] {
    require(session, "session");
    require(memory, "memory");
    const Session& s = session->session;
    const Session::Memory m = s.memory(*plan_of(s, shapes, input_count));
    *memory = {m.file_bytes, m.constant_bytes, m.packed_bytes, m.arena_bytes};
  });
}
