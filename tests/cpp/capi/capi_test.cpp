// The C interface: what it says about a model, that it runs it, and that every mistake a caller can
// make is a status and a message.
#include <zeropoint.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <tuple>

#include "runtime/gguf_builder.h"
#include "support.h"

namespace zeropoint {
namespace {

using namespace test;  // NOLINT: the builder's short names

// A session over bytes that live as long as it does.
struct Opened {
  std::string bytes;
  zp_session* session = nullptr;

  explicit Opened(const ModelBuilder& model, const zp_options* options = nullptr)
      : bytes(model.bytes()) {
    const zp_status status = zp_session_open_memory(bytes.data(), bytes.size(), options, &session);
    INFO(std::string(zp_last_error()));
    REQUIRE(status == ZP_OK);
  }
  ~Opened() { zp_session_close(session); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

bool message_has(const char* text) {
  const bool found = std::string(zp_last_error()).find(text) != std::string::npos;
  if (!found) MESSAGE(std::string(zp_last_error()));
  return found;
}

// relu of float32 [4], without free dimensions.
ModelBuilder relu_model() {
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"y"};
  m.value("x", "float32", {4});
  m.value("y", "float32", {4});
  m.node("relu", {"x"}, {"y"});
  return m;
}

const float kX[8] = {1.0f, -1.0f, 0.5f, 2.0f, -2.0f, 0.25f, 3.0f, -0.75f};
const zp_shape kShape = {2, {2, 4}};

TEST_CASE("C interface: versions, levels, dtypes and sizes") {
  CHECK(zp_abi_version() == ZP_ABI_VERSION);
  CHECK(std::string(zp_version()).find('.') != std::string::npos);
  const std::vector<IsaLevel>& levels = isa_levels();
  REQUIRE(zp_isa_count() == levels.size());
  for (size_t i = 0; i < levels.size(); ++i) {
    zp_isa_level level{};
    REQUIRE(zp_isa_at(i, &level) == ZP_OK);
    CHECK(std::string(level.name) == levels[i].name);
    CHECK((level.detected == 1) == levels[i].detected());
  }
  zp_isa_level level{};
  CHECK(zp_isa_at(levels.size(), &level) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("out of range"));
  CHECK(zp_isa_at(0, nullptr) == ZP_INVALID_ARGUMENT);
  CHECK(zp_dtype_size(ZP_INT64) == 8);
  CHECK(zp_dtype_size(static_cast<zp_dtype>(99)) == 0);
  CHECK(std::string(zp_dtype_name(ZP_UINT8)) == "uint8");
  CHECK(std::string(zp_status_name(ZP_ISA)) == "ISA level");
  CHECK(std::string(zp_status_name(static_cast<zp_status>(99))) == "unknown status");

  CHECK(zp_tensor_bytes(&kShape, ZP_FLOAT32) == 32);
  const zp_shape scalar = {0, {}};
  CHECK(zp_tensor_bytes(&scalar, ZP_INT64) == 8);
  for (const zp_shape& bad : {zp_shape{1, {-1}}, zp_shape{1, {0}}, zp_shape{-1, {}},
                              zp_shape{9, {}}, zp_shape{2, {INT64_MAX, 2}}}) {
    CHECK(zp_tensor_bytes(&bad, ZP_FLOAT32) == 0);
  }
  CHECK(zp_tensor_bytes(nullptr, ZP_FLOAT32) == 0);
}

TEST_CASE("C interface: inputs and outputs with shape, dtype, scale and zero point") {
  const Opened opened(small_model());
  REQUIRE(zp_session_input_count(opened.session) == 1);
  REQUIRE(zp_session_output_count(opened.session) == 1);
  zp_tensor_info info{};
  REQUIRE(zp_session_input(opened.session, 0, &info) == ZP_OK);
  CHECK(std::string(info.name) == "x");
  CHECK(info.dtype == ZP_FLOAT32);
  CHECK(info.shape.rank == 2);
  CHECK(info.shape.dims[0] == -1);
  CHECK(info.shape.dims[1] == 4);
  CHECK(info.scale == 0.0f);
  CHECK(zp_session_threads(opened.session) == 1);
  CHECK(std::string(zp_session_isa(opened.session)) == isa_name(resolve_isa("")));

  ModelBuilder m;  // int8 on both sides
  m.inputs = {"x"};
  m.outputs = {"y"};
  m.value("x", "int8", {1, 4}, 0.5f, 3);
  m.value("y", "int8", {4}, 0.5f, 3);
  m.node("flatten", {"x"}, {"y"});
  m.file.set("zeropoint.node.0.attr.axis", scalar<int64_t>(kI64, 0));
  m.values[1].dims = {1, 4};
  for (const auto& [io, dtype, zero_point] :
       {std::tuple{"as_file", ZP_INT8, 3}, {"uint8", ZP_UINT8, 131}, {"float32", ZP_FLOAT32, 3}}) {
    zp_options options = ZP_OPTIONS_INIT;
    options.io = io;
    const Opened quantized(m, &options);
    REQUIRE(zp_session_output(quantized.session, 0, &info) == ZP_OK);
    CHECK(info.dtype == dtype);
    CHECK(info.scale == 0.5f);
    CHECK(info.zero_point == zero_point);
  }
  const zp_io named[] = {{"y", "uint8"}};
  zp_options options = ZP_OPTIONS_INIT;
  options.named_io = named;
  options.named_io_count = 1;
  const Opened quantized(m, &options);
  REQUIRE(zp_session_input(quantized.session, 0, &info) == ZP_OK);
  CHECK(info.dtype == ZP_INT8);
  const int8_t q[4] = {-128, -1, 0, 127};
  uint8_t y[4] = {};
  const zp_input in = {q, sizeof q};
  const zp_output out = {y, sizeof y};
  REQUIRE(zp_session_run(quantized.session, &in, nullptr, 1, &out, 1) == ZP_OK);
  CHECK(y[0] == 0);
  CHECK(y[3] == 255);
}

TEST_CASE("C interface: runs with free dimensions, at every level, with threads, from threads") {
  std::vector<float> expected;
  for (const Isa isa : detected_isa_levels()) {
    for (const int threads : {1, 3}) {
      zp_options options = ZP_OPTIONS_INIT;
      options.isa = isa_name(isa);
      options.threads = threads;
      const Opened opened(small_model(), &options);
      CHECK(std::string(zp_session_isa(opened.session)) == isa_name(isa));
      zp_shape y_shape{};
      REQUIRE(zp_session_output_shapes(opened.session, &kShape, 1, &y_shape, 1) == ZP_OK);
      CHECK(y_shape.rank == 2);
      CHECK(y_shape.dims[0] == 2);
      CHECK(y_shape.dims[1] == 3);
      const auto run = [&] {
        std::vector<float> y(6);
        const zp_input in = {kX, sizeof kX};
        const zp_output out = {y.data(), 24};
        const zp_status status = zp_session_run(opened.session, &in, &kShape, 1, &out, 1);
        return status == ZP_OK ? y : std::vector<float>{};
      };
      if (expected.empty()) expected = run();
      CHECK(run() == expected);
      std::vector<float> theirs;
      std::thread([&] { theirs = run(); }).join();
      CHECK(theirs == expected);
    }
  }
  CHECK(expected.size() == 6);
}

TEST_CASE("C interface: a NaN of an output has one form") {
  const Opened opened(relu_model());
  const uint32_t bits[4] = {0x7FC12345, 0xFF800001, 0x7F800000, 0xFF800000};
  float x[4];
  std::memcpy(x, bits, sizeof x);
  uint32_t y[4] = {};
  const zp_input in = {x, sizeof x};
  const zp_output out = {y, sizeof y};
  REQUIRE(zp_session_run(opened.session, &in, nullptr, 1, &out, 1) == ZP_OK);
  CHECK(y[0] == 0x7FC00000);
  CHECK(y[1] == 0x7FC00000);
  CHECK(y[2] == 0x7F800000);
  CHECK(y[3] == 0);
}

TEST_CASE("C interface: NULL is an error everywhere, never a crash") {
  const Opened opened(relu_model());
  zp_session* s = opened.session;
  zp_session* made = nullptr;
  zp_tensor_info info{};
  zp_cache_info cache{};
  zp_memory memory{};
  zp_profile* profile = nullptr;
  zp_node node{};
  float x[4] = {}, y[4] = {};
  const zp_input in = {x, sizeof x}, no_in = {nullptr, sizeof x};
  const zp_output out = {y, sizeof y}, no_out = {nullptr, sizeof y};
  zp_shape shape{};
  const std::vector<zp_status> statuses = {
      zp_session_open(nullptr, nullptr, &made),
      zp_session_open("model.gguf", nullptr, nullptr),
      zp_session_open_memory(nullptr, 10, nullptr, &made),
      zp_session_open_memory(x, sizeof x, nullptr, nullptr),
      zp_session_input(nullptr, 0, &info),
      zp_session_input(s, 0, nullptr),
      zp_session_output(nullptr, 0, &info),
      zp_session_output(s, 0, nullptr),
      zp_session_cache(nullptr, &cache),
      zp_session_cache(s, nullptr),
      zp_session_output_shapes(nullptr, nullptr, 1, &shape, 1),
      zp_session_output_shapes(s, nullptr, 1, nullptr, 1),
      zp_session_run(nullptr, &in, nullptr, 1, &out, 1),
      zp_session_run(s, nullptr, nullptr, 1, &out, 1),
      zp_session_run(s, &in, nullptr, 1, nullptr, 1),
      zp_session_run(s, &no_in, nullptr, 1, &out, 1),
      zp_session_run(s, &in, nullptr, 1, &no_out, 1),
      zp_session_memory(nullptr, nullptr, 1, &memory),
      zp_session_memory(s, nullptr, 1, nullptr),
      zp_session_profile(nullptr, &in, nullptr, 1, 1, &profile),
      zp_session_profile(s, nullptr, nullptr, 1, 1, &profile),
      zp_session_profile(s, &in, nullptr, 1, 1, nullptr),
      zp_profile_node(nullptr, 0, &node),
  };
  for (size_t i = 0; i < statuses.size(); ++i) {
    INFO("call " << i);
    CHECK(statuses[i] == ZP_INVALID_ARGUMENT);
  }
  CHECK(message_has("profile must not be NULL"));
  CHECK(made == nullptr);
  CHECK(zp_session_input_count(nullptr) == 0);
  CHECK(zp_session_output_count(nullptr) == 0);
  CHECK(zp_session_isa(nullptr) == nullptr);
  CHECK(zp_session_threads(nullptr) == 0);
  CHECK(zp_profile_node_count(nullptr) == 0);
  CHECK(zp_profile_run_seconds(nullptr) == 0.0);
  zp_session_close(nullptr);
  zp_profile_free(nullptr);
}

TEST_CASE(
    "C interface: wrong shapes, sizes, counts and alignment are told from what they should be") {
  const Opened opened(small_model());
  float y[6] = {};
  const zp_input in = {kX, sizeof kX};
  const zp_output out = {y, sizeof y};
  const auto run = [&](const zp_input& i, const zp_shape* shape, size_t inputs, const zp_output& o,
                       size_t outputs) {
    return zp_session_run(opened.session, &i, shape, inputs, &o, outputs);
  };
  CHECK(run(in, nullptr, 1, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("input 'x' has the shape [?, 4] with free dimensions"));
  const zp_shape wide = {2, {2, 5}}, deep = {9, {}}, negative = {2, {-1, 4}};
  CHECK(run(in, &wide, 1, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("[2, 5]"));
  CHECK(run(in, &deep, 1, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("a rank of 9"));
  CHECK(run(in, &negative, 1, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(run(in, &kShape, 2, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("has 1 inputs, not 2"));
  CHECK(run(in, &kShape, 1, out, 0) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("has 1 outputs, not 0"));
  CHECK(run({kX, 31}, &kShape, 1, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("input 'x' has 31 bytes; float32 [2, 4] takes 32"));
  CHECK(run(in, &kShape, 1, {y, 28}, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("output 'y' has 28 bytes; float32 [2, 3] takes 24"));
  const char* odd = reinterpret_cast<const char*>(kX) + 1;
  CHECK(run({odd, 32}, &kShape, 1, out, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("multiple of 4 bytes"));
  float shared[12] = {};
  CHECK(run({shared, 32}, &kShape, 1, {shared + 7, 24}, 1) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("output 'y' shares memory with input 'x'"));
  CHECK(run({shared, 32}, &kShape, 1, {y, 24}, 1) == ZP_OK);
  float beside[14] = {};
  CHECK(run({beside, 32}, &kShape, 1, {beside + 8, 24}, 1) == ZP_OK);
  zp_tensor_info info{};
  CHECK(zp_session_input(opened.session, 1, &info) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("there are 1 inputs"));
}

TEST_CASE("C interface: options out of range, and models that are none") {
  const std::string bytes = small_model().bytes();
  const auto open = [&](const zp_options& options) {
    zp_session* session = nullptr;
    const zp_status status = zp_session_open_memory(bytes.data(), bytes.size(), &options, &session);
    zp_session_close(session);
    return status;
  };
  zp_options options = ZP_OPTIONS_INIT;
  CHECK(open(options) == ZP_OK);
  for (const int32_t threads : {-1, 1025}) {
    options.threads = threads;
    CHECK(open(options) == ZP_INVALID_ARGUMENT);
    CHECK(message_has("threads must be from 1 to 1024"));
  }
  options = ZP_OPTIONS_INIT;
  options.isa = "avx9000";
  CHECK(open(options) == ZP_ISA);
  CHECK(message_has("'avx9000' is unknown"));
  options = ZP_OPTIONS_INIT;
  options.io = "float16";
  CHECK(open(options) == ZP_INVALID_ARGUMENT);
  options = ZP_OPTIONS_INIT;
  options.named_io_count = 1;
  CHECK(open(options) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("options.named_io must not be NULL"));
  const zp_io nameless = {nullptr, "int8"};
  options.named_io = &nameless;
  CHECK(open(options) == ZP_INVALID_ARGUMENT);
  // A structure from a newer header, from none, and from an older one that ended early.
  options = ZP_OPTIONS_INIT;
  options.struct_size = sizeof options + 8;
  CHECK(open(options) == ZP_INVALID_ARGUMENT);
  CHECK(message_has("struct_size"));
  options.struct_size = 0;
  CHECK(open(options) == ZP_INVALID_ARGUMENT);
  options = ZP_OPTIONS_INIT;
  options.struct_size = offsetof(zp_options, io);
  options.io = "float16";
  CHECK(open(options) == ZP_OK);

  zp_session* session = nullptr;
  CHECK(zp_session_open("/nonexistent/model.gguf", nullptr, &session) == ZP_IO);
  CHECK(message_has("/nonexistent/model.gguf"));
  CHECK(zp_session_open_memory("GGUF", 4, nullptr, &session) == ZP_INVALID_MODEL);
  ModelBuilder unknown = relu_model();
  unknown.file.set("zeropoint.node.0.op", text("fly"));
  const std::string other = unknown.bytes();
  CHECK(zp_session_open_memory(other.data(), other.size(), nullptr, &session) == ZP_UNSUPPORTED);
  CHECK(message_has("fly"));
  CHECK(session == nullptr);
}

TEST_CASE("C interface: a level that this CPU lacks is an error") {
  const std::string bytes = small_model().bytes();
  for (const IsaLevel& level : isa_levels()) {
    zp_options options = ZP_OPTIONS_INIT;
    options.isa = level.name;
    zp_session* session = nullptr;
    const zp_status status = zp_session_open_memory(bytes.data(), bytes.size(), &options, &session);
    CHECK(status == (level.detected() ? ZP_OK : ZP_ISA));
    if (!level.detected()) CHECK(message_has("which this CPU lacks"));
    zp_session_close(session);
  }
}

TEST_CASE("C interface: messages belong to threads") {
  zp_session* session = nullptr;
  CHECK(zp_session_open("/nonexistent/a", nullptr, &session) == ZP_IO);
  std::string fresh = "not empty", theirs;
  std::thread([&] {
    fresh = zp_last_error();
    zp_session_open("/nonexistent/b", nullptr, &session);
    theirs = zp_last_error();
  }).join();
  CHECK(fresh.empty());
  CHECK(theirs.find("/nonexistent/b") != std::string::npos);
  CHECK(message_has("/nonexistent/a"));
}

TEST_CASE("C interface: profiles, memory and the cache describe the session") {
  zp_profile* profile = nullptr;
  zp_node node{};
  {
    const Opened opened(small_model());
    const zp_input in = {kX, sizeof kX};
    REQUIRE(zp_session_profile(opened.session, &in, &kShape, 1, 3, &profile) == ZP_OK);
    zp_profile* idle = nullptr;
    REQUIRE(zp_session_profile(opened.session, nullptr, &kShape, 1, 0, &idle) == ZP_OK);
    CHECK(zp_profile_run_seconds(idle) == 0.0);
    CHECK(zp_profile_node_count(idle) == 3);
    zp_profile_free(idle);
    CHECK(zp_session_profile(opened.session, &in, &kShape, 1, -1, &idle) == ZP_INVALID_ARGUMENT);

    zp_memory memory{};
    REQUIRE(zp_session_memory(opened.session, &kShape, 1, &memory) == ZP_OK);
    CHECK(memory.file_bytes == static_cast<int64_t>(opened.bytes.size()));
    CHECK(memory.arena_bytes > 0);
    zp_cache_info cache{};
    REQUIRE(zp_session_cache(opened.session, &cache) == ZP_OK);
    CHECK(std::string(cache.state) == "off");
    CHECK(std::string(cache.problem).empty());
  }
  // The profile outlives the session.
  CHECK(zp_profile_run_seconds(profile) > 0.0);
  REQUIRE(zp_profile_node_count(profile) == 3);
  REQUIRE(zp_profile_node(profile, 1, &node) == ZP_OK);
  CHECK(std::string(node.op) == "linear");
  CHECK(std::string(node.precision) == "int8");
  CHECK(std::string(node.kernel).find("gemm_s8") == 0);
  CHECK(node.macs == 2 * 3 * 4);
  CHECK(node.output.dims[1] == 3);
  CHECK(zp_profile_node(profile, 3, &node) == ZP_INVALID_ARGUMENT);
  zp_profile_free(profile);
}

}  // namespace
}  // namespace zeropoint
