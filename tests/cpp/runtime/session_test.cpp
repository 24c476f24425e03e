#include "runtime/session.h"

#include <atomic>
#include <map>
#include <thread>

#include "runtime/gguf_builder.h"
#include "runtime/model_reader.h"
#include "support.h"

namespace zeropoint {
namespace {

using namespace test;  // NOLINT: the builder's short names

// A session over bytes that live as long as it does.
struct Loaded {
  std::string bytes;
  std::unique_ptr<Session> session;

  explicit Loaded(const ModelBuilder& m, int threads = 1, Isa isa = resolve_isa(""))
      : bytes(m.bytes()) {
    MemoryBlock block;
    block.data = reinterpret_cast<const unsigned char*>(bytes.data());
    block.size = bytes.size();
    session = std::make_unique<Session>(read_model(block, "test.gguf"), threads, isa);
  }
};

using Bytes = std::vector<uint8_t>;

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes b(values.size() * sizeof(T));
  std::memcpy(b.data(), values.data(), b.size());
  return b;
}

struct Outputs {
  std::vector<Bytes> data;
  std::vector<Shape> shapes;
};

Outputs prepare(const Session& session, const ExecutionPlan& plan, std::vector<void*>& pointers) {
  Outputs outputs;
  for (size_t i = 0; i < session.model().outputs.size(); ++i) {
    outputs.data.emplace_back(static_cast<size_t>(session.output_bytes(plan, i)));
    outputs.shapes.push_back(session.output_shape(plan, i));
  }
  for (Bytes& b : outputs.data) pointers.push_back(b.data());
  return outputs;
}

Outputs run(const Session& session, const std::vector<Shape>& shapes,
            const std::vector<Bytes>& inputs) {
  const auto plan = session.plan(shapes);
  std::vector<const void*> in;
  for (const Bytes& b : inputs) in.push_back(b.data());
  std::vector<void*> out;
  Outputs outputs = prepare(session, *plan, out);
  session.run(*plan, in, out);
  return outputs;
}

template <typename T>
std::vector<T> values_of(const Bytes& bytes) {
  std::vector<T> v(bytes.size() / sizeof(T));
  std::memcpy(v.data(), bytes.data(), bytes.size());
  return v;
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::vector<float> ramp(int64_t n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) * 0.25f - 11.0f;
  return x;
}

TEST_CASE("session: a free dimension, its limits, and the same bytes for every split") {
  const Loaded loaded(small_model());
  const Session& session = *loaded.session;
  const std::vector<float> x = ramp(8 * 4);
  const Outputs whole = run(session, {{8, 4}}, {bytes_of(x)});
  CHECK(whole.shapes[0] == Shape{8, 3});
  for (int64_t row = 0; row < 8; ++row) {
    const std::vector<float> one(x.begin() + row * 4, x.begin() + (row + 1) * 4);
    const Outputs single = run(session, {{1, 4}}, {bytes_of(one)});
    CHECK(
        std::equal(single.data[0].begin(), single.data[0].end(), whole.data[0].begin() + row * 12));
  }
  for (const int threads : {2, 5}) {
    for (const Isa isa : detected_isa_levels()) {
      const Loaded other(small_model(), threads, isa);
      CHECK(other.session->threads() == threads);
      CHECK(run(*other.session, {{8, 4}}, {bytes_of(x)}).data == whole.data);
    }
  }
  CHECK(error_of([&] { session.plan({{8, 5}}); }).find("input 'x' has shape [8, 5]") !=
        std::string::npos);
  CHECK(error_of([&] { session.plan({{0, 4}}); }).find("[0, 4]") != std::string::npos);
  CHECK(error_of([&] { session.plan({{4}}); }).find("takes [?, 4]") != std::string::npos);
  CHECK(error_of([&] { session.plan({}); }).find("takes 1 inputs, not 0") != std::string::npos);
  CHECK_FALSE(error_of([&] { session.plan({{int64_t{1} << 38, 4}}); }).empty());
}

TEST_CASE("session: the arithmetic of a quantized layer") {
  const Loaded loaded(small_model());
  const std::vector<float> x = {1.0f, -1.0f, 0.5f, 2.0f};
  const Outputs y = run(*loaded.session, {{1, 4}}, {bytes_of(x)});
  const int w[3][4] = {{1, -2, 3, -4}, {5, 6, 7, -8}, {9, 10, -127, 12}};
  const int bias[3] = {100, -200, 300};
  const float w_scale[3] = {0.02f, 0.03f, 0.04f};
  for (int n = 0; n < 3; ++n) {
    int acc = bias[n];
    for (int k = 0; k < 4; ++k) {
      const int q = static_cast<int>(std::nearbyintf(x[static_cast<size_t>(k)] / 0.05f)) + 3;
      acc += (q - 3) * w[n][k];
    }
    const float scaled = static_cast<float>(acc) * ((0.05f * w_scale[n]) / 0.1f);
    const int q = std::min(127, std::max(-128, static_cast<int>(std::nearbyintf(scaled)) - 7));
    CHECK(values_of<float>(y.data[0])[static_cast<size_t>(n)] == static_cast<float>(q + 7) * 0.1f);
  }
}

// Int8 on both sides, views of views, an output that is an input, a constant output.
ModelBuilder view_model() {
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"x", "v", "c", "cv", "s"};
  m.value("x", "int8", {-1, 2, 3}, 0.5f, 10);
  m.value("v", "int8", {-1, 6}, 0.5f, 10);
  m.value("u", "int8", {-1, 6, 1}, 0.5f, 10);
  m.value("cv", "int8", {1, 3}, 0.5f, 10);
  m.value("f", "float32", {-1, 6, 1});
  m.value("s", "float32", {-1, 6, 1});
  m.constant<int8_t>("c", "int8", kTensorI8, {3}, {-128, 0, 127});
  m.values.back().scale = 0.5f;
  m.values.back().zero_point = 10;
  m.file.set(m.node("flatten", {"x"}, {"v"}) + "axis", scalar<int64_t>(kI64, 1));
  m.file.set(m.node("unsqueeze", {"v"}, {"u"}) + "axes", array<int64_t>(kI64, {2}));
  m.file.set(m.node("unsqueeze", {"c"}, {"cv"}) + "axes", array<int64_t>(kI64, {0}));
  m.node("dequantize", {"u"}, {"f"});
  m.node("relu", {"f"}, {"s"});
  return m;
}

TEST_CASE("session: views, inputs and constants as outputs, int8 in the file's domain") {
  const Loaded loaded(view_model());
  const std::vector<int8_t> x = {-128, -1, 0, 1, 10, 127, 3, 4, 5, 6, 7, 50};
  const Outputs y = run(*loaded.session, {{2, 2, 3}}, {bytes_of(x)});
  CHECK(values_of<int8_t>(y.data[0]) == x);
  CHECK(values_of<int8_t>(y.data[1]) == x);
  CHECK(y.shapes[1] == Shape{2, 6});
  CHECK(values_of<int8_t>(y.data[2]) == std::vector<int8_t>{-128, 0, 127});
  CHECK(values_of<int8_t>(y.data[3]) == std::vector<int8_t>{-128, 0, 127});
  CHECK(y.shapes[3] == Shape{1, 3});
  std::vector<float> expected;
  for (const int8_t q : x) expected.push_back(std::max(0.0f, static_cast<float>(q - 10) * 0.5f));
  CHECK(values_of<float>(y.data[4]) == expected);
}

// A chain of unary functions, with a reader of an early value at its end.
ModelBuilder chain_model(int length, bool reread) {
  ModelBuilder m;
  m.inputs = {"v0"};
  m.value("v0", "float32", {-1, 64});
  for (int i = 0; i < length; ++i) {
    const std::string in = "v" + std::to_string(i);
    const std::string out = "v" + std::to_string(i + 1);
    m.value(out, "float32", {-1, 64});
    m.node(i % 2 == 0 ? "neg" : "abs", {in}, {out});
  }
  const std::string last = "v" + std::to_string(length);
  m.value("y", "float32", {-1, 64});
  m.node("add", {last, reread ? "v1" : last}, {"y"});
  m.outputs = {"y"};
  return m;
}

TEST_CASE("session: buffers are reused, but never while somebody needs them") {
  const std::vector<float> x = ramp(2 * 64);
  const int64_t one = 2 * 64 * 4 + 64;
  for (const bool reread : {false, true}) {
    const Loaded loaded(chain_model(9, reread));
    const auto plan = loaded.session->plan({{2, 64}});
    CHECK(plan->arena_bytes() <= (reread ? 3 : 2) * one);
    const std::vector<float> y =
        values_of<float>(run(*loaded.session, {{2, 64}}, {bytes_of(x)}).data[0]);
    for (size_t i = 0; i < x.size(); ++i) {
      const float last = -std::fabs(x[i]);
      CHECK(y[i] == last + (reread ? -x[i] : last));
    }
  }
}

TEST_CASE("session: an input that is quantized first is read where the caller has it") {
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"q"};
  m.value("x", "float32", {-1, 64});
  m.value("q", "int8", {-1, 64}, 0.25f, 3);
  m.node("quantize", {"x"}, {"q"});
  const Loaded loaded(m);
  const Session& session = *loaded.session;
  const int64_t rows = 50;
  const auto plan = session.plan({{rows, 64}});
  CHECK(plan->arena_bytes() < rows * 64 * 4);  // there is no room for it
  const std::vector<float> x = ramp(static_cast<size_t>(rows * 64));
  const Outputs expected = run(session, {{rows, 64}}, {bytes_of(x)});
  const std::vector<int8_t> q = values_of<int8_t>(expected.data[0]);
  for (size_t i = 0; i < x.size(); ++i) {
    const float rounded = std::nearbyint(x[i] / 0.25f) + 3.0f;
    CHECK(static_cast<float>(q[i]) == std::min(127.0f, std::max(-128.0f, rounded)));
  }
  // Wherever it lies, nothing around it is read or written.
  for (const size_t shift : {0, 1, 2, 3, 4, 20}) {
    const Bytes plain = bytes_of(x);
    std::vector<uint8_t> buffer(shift + plain.size());
    std::copy(plain.begin(), plain.end(), buffer.begin() + static_cast<ptrdiff_t>(shift));
    const std::vector<uint8_t> before = buffer;
    std::vector<void*> out;
    const Outputs outputs = prepare(session, *plan, out);
    session.run(*plan, {buffer.data() + shift}, out);
    CHECK(outputs.data == expected.data);
    CHECK(buffer == before);
  }

  // Not so where somebody else needs it too.
  m.outputs.push_back("x");
  const Loaded shown(m);
  CHECK(shown.session->plan({{rows, 64}})->arena_bytes() >= rows * 64 * 4);
  CHECK(run(*shown.session, {{rows, 64}}, {bytes_of(x)}).data[1] == bytes_of(x));
}

TEST_CASE("session: observe shows inputs and every node's outputs, and returns the same bytes") {
  const Loaded loaded(small_model());
  const Session& session = *loaded.session;
  const auto plan = session.plan({{2, 4}});
  const Bytes x = bytes_of(ramp(8));
  std::vector<void*> out;
  const Outputs outputs = prepare(session, *plan, out);
  std::vector<std::string> names;
  std::map<std::string, Bytes> seen;
  const auto see = [&](const ValueInfo& value, const Shape& shape, const void* data,
                       const std::shared_ptr<const void>&) {
    names.push_back(value.name);
    const auto* p = static_cast<const uint8_t*>(data);
    seen[value.name].assign(p, p + shape.elements() * dtype_size(value.dtype));
  };
  session.observe(*plan, {x.data()}, out, see);
  CHECK(names == std::vector<std::string>{"x", "xq", "h", "y"});
  CHECK(seen["x"] == x);
  CHECK(seen["y"] == outputs.data[0]);
  CHECK(run(session, {{2, 4}}, {x}).data == outputs.data);
  const std::vector<int8_t> h = values_of<int8_t>(seen["h"]);
  const std::vector<float> y = values_of<float>(seen["y"]);
  for (size_t i = 0; i < h.size(); ++i) CHECK(y[i] == static_cast<float>(h[i] + 7) * 0.1f);

  // An observer that throws ends the run; the session stays usable.
  CHECK_THROWS_AS(session.observe(*plan, {x.data()}, out,
                                  [](const ValueInfo&, const Shape&, const void*,
                                     const std::shared_ptr<const void>&) { throw 7; }),
                  int);
  CHECK(run(session, {{2, 4}}, {x}).data == outputs.data);
}

TEST_CASE("session: many shapes, more than the cache keeps, from several threads at once") {
  const Loaded loaded(small_model(), 2);
  const Session& session = *loaded.session;
  const std::vector<float> x = ramp(40 * 4);
  const Outputs expected = run(session, {{40, 4}}, {bytes_of(x)});
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int u = 0; u < 4; ++u) {
    users.emplace_back([&, u] {
      for (int64_t i = 0; i < 120; ++i) {
        const int64_t rows = 1 + (i * 7 + u) % 40;
        const std::vector<float> part(x.begin(), x.begin() + rows * 4);
        const Outputs y = run(session, {{rows, 4}}, {bytes_of(part)});
        wrong += !std::equal(y.data[0].begin(), y.data[0].end(), expected.data[0].begin());
      }
    });
  }
  for (std::thread& user : users) user.join();
  CHECK(wrong == 0);
}

TEST_CASE("session: rows, memory and profile describe the model") {
  const Loaded loaded(small_model());
  const Session& session = *loaded.session;
  const auto plan = session.plan({{5, 4}});
  const std::vector<Session::NodeRow> rows = session.nodes(*plan);
  REQUIRE(rows.size() == 3);
  CHECK(std::string(rows[0].precision) == "float32");
  CHECK(std::string(rows[1].precision) == "int8");
  CHECK(rows[1].macs == 5 * 3 * 4);
  CHECK(rows[1].kernel.find("gemm_s8") == 0);
  CHECK(rows[1].isa == isa_name(session.isa()));
  CHECK(rows[1].output_shape == Shape{5, 3});
  const Session::Memory memory = session.memory(*plan);
  CHECK(memory.file_bytes == static_cast<int64_t>(loaded.bytes.size()));
  CHECK(memory.constant_bytes == 12 + 3 * 4 * 3);
  CHECK(memory.packed_bytes >= 12);
  CHECK(memory.arena_bytes == plan->arena_bytes());
  const Bytes x = bytes_of(ramp(20));
  const Session::Profile profile = session.profile(*plan, {x.data()}, 3);
  CHECK(profile.node_seconds.size() == 3);
  CHECK(profile.run_seconds > 0.0);
  CHECK_THROWS_AS(session.profile(*plan, {x.data()}, 0), Error);
}

TEST_CASE("session: a run that needs more memory than there is says so") {
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"y"};
  m.value("x", "float32", {-1});
  m.value("y", "float32", {-1});
  m.node("relu", {"x"}, {"y"});
  const Loaded loaded(m);
  try {
    loaded.session->plan({{int64_t{1} << 37}});  // 512 GiB
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::out_of_memory);
    CHECK(std::string(error.what()).find("smaller batch") != std::string::npos);
  }
}

TEST_CASE("session: errors name the file, the node and its operator") {
  ModelBuilder m = small_model();
  m.file.set("zeropoint.node.1.attr.qmin", scalar<double>(kF64, 0.5));
  const std::string message = error_of([&] { const Loaded loaded(m); });
  CHECK(message.find("test.gguf: node 'linear1' (linear): ") == 0);

  ModelBuilder wrong_shape = small_model();
  wrong_shape.values[0].dims = {-1, 5};
  const Loaded loaded(wrong_shape);
  const std::string at_plan = error_of([&] { loaded.session->plan({{2, 5}}); });
  CHECK(at_plan.find("test.gguf: node 'linear1' (linear): ") == 0);
}

}  // namespace
}  // namespace zeropoint
