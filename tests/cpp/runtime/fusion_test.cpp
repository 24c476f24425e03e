#include "runtime/fusion.h"

#include <array>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "runtime/gguf_builder.h"
#include "runtime/model_reader.h"
#include "runtime/session.h"
#include "support.h"

namespace zeropoint {
namespace {

using namespace test;  // NOLINT: the builder's short names

Model read(const std::string& bytes) {
  MemoryBlock block;
  block.data = reinterpret_cast<const unsigned char*>(bytes.data());
  block.size = bytes.size();
  return read_model(block, "test.gguf");
}

constexpr int kIn = 5, kOut = 70;

// y = add(linear(x), r), or the operands the other way around; all int8, rows free.
ModelBuilder linear_add(bool other_first) {
  std::mt19937_64 g(1);
  std::vector<int8_t> weights;
  for (int i = 0; i < kIn * kOut; ++i) weights.push_back(static_cast<int8_t>(g() % 255) - 127);
  ModelBuilder m;
  m.inputs = {"x", "r"};
  m.outputs = {"y"};
  m.value("x", "int8", {-1, kIn}, 0.05f, 3);
  m.value("r", "int8", {-1, kOut}, 0.2f, -9);
  m.value("h", "int8", {-1, kOut}, 0.15f, 17);
  m.value("y", "int8", {-1, kOut}, 0.25f, 1);
  m.constant<int8_t>("w", "int8", kTensorI8, {kOut, kIn}, weights);
  m.values.back().scale = 0.01f;
  m.node("linear", {"x", "w"}, {"h"});
  const std::string attrs =
      other_first ? m.node("add", {"r", "h"}, {"y"}) : m.node("add", {"h", "r"}, {"y"});
  m.file.set(attrs + "qmin", scalar<int64_t>(kI64, -100));
  return m;
}

std::vector<int8_t> random_values(int64_t n, uint64_t seed) {
  std::mt19937_64 g(seed);
  std::vector<int8_t> x;
  for (int64_t i = 0; i < n; ++i) x.push_back(static_cast<int8_t>(g() % 256));
  return x;
}

std::vector<int8_t> run(const Session& session, int64_t x_rows, int64_t r_rows) {
  const auto x = random_values(x_rows * kIn, 2), r = random_values(r_rows * kOut, 3);
  const auto plan = session.plan({{x_rows, kIn}, {r_rows, kOut}});
  std::vector<int8_t> y(static_cast<size_t>(session.output_bytes(*plan, 0)));
  session.run(*plan, {x.data(), r.data()}, {y.data()});
  return y;
}

TEST_CASE("fusion: a linear layer and an add become one node, with the same results") {
  for (const bool other_first : {false, true}) {
    const std::string bytes = linear_add(other_first).bytes();
    for (const Isa isa : detected_isa_levels()) {
      for (const int threads : {1, 3}) {
        const Session fused(read(bytes), threads, isa);
        const Session plain(read(bytes), threads, isa, {}, false);
        REQUIRE(fused.model().nodes.size() == 1);
        CHECK(fused.model().nodes[0].op == "linear+add");
        CHECK(plain.model().nodes.size() == 2);
        // Where the free dimensions differ, one side is broadcast.
        for (const auto& rows : {std::pair{1, 1}, {7, 7}, {200, 200}, {1, 4}, {4, 1}}) {
          INFO(isa_name(isa) << ", rows " << rows.first << " and " << rows.second);
          CHECK(run(fused, rows.first, rows.second) == run(plain, rows.first, rows.second));
        }
        CHECK_THROWS_AS(fused.plan({{2, kIn}, {3, kOut}}), Error);
      }
    }
  }
}

TEST_CASE("fusion: observers see every value of the file") {
  const std::string bytes = linear_add(false).bytes();
  const Session fused(read(bytes), 1, resolve_isa(""));
  const auto x = random_values(2 * kIn, 2), r = random_values(2 * kOut, 3);
  const auto plan = fused.plan({{2, kIn}, {2, kOut}});
  std::vector<int8_t> y(2 * kOut), seen_y;
  std::vector<std::string> names;
  fused.observe(*plan, {x.data(), r.data()}, {y.data()},
                [&](const ValueInfo& value, const Shape& shape, const void* data, const auto&) {
                  names.push_back(value.name);
                  if (value.name != "y") return;
                  const auto* first = static_cast<const int8_t*>(data);
                  seen_y.assign(first, first + shape.elements());
                });
  CHECK(names == std::vector<std::string>{"x", "r", "h", "y"});
  CHECK(seen_y == y);
  CHECK(run(fused, 2, 2) == y);
}

TEST_CASE("fusion: values that others need stay on their own") {
  ModelBuilder second_reader = linear_add(false);
  second_reader.value("z", "int8", {-1, kOut}, 0.25f, 1);
  second_reader.outputs.push_back("z");
  second_reader.node("add", {"h", "r"}, {"z"});
  ModelBuilder output = linear_add(false);
  output.outputs.push_back("h");
  ModelBuilder far_apart = linear_add(false);
  for (auto& value : far_apart.values) {
    if (value.name == "y") value.scale = 1e-12f;
  }
  for (const ModelBuilder& m : {second_reader, output, far_apart}) {
    const std::string bytes = m.bytes();
    const Session session(read(bytes), 1, resolve_isa(""));
    for (const NodeInfo& node : session.model().nodes) CHECK(node.parts.empty());
  }
}

// y = transpose(quantize(x)), with x [n, c, h, w]; the file says that there are `declared`
// channels.
ModelBuilder image(int64_t declared, const std::vector<int64_t>& perm = {0, 2, 3, 1}) {
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"y"};
  m.value("x", "float32", {-1, -1, -1, -1});
  m.value("q", "int8", {-1, declared, -1, -1}, 0.02f, -5);
  m.value("y", "int8", {-1, -1, -1, -1}, 0.02f, -5);
  m.node("quantize", {"x"}, {"q"});
  const std::string attrs = m.node("transpose", {"q"}, {"y"});
  m.file.set(attrs + "perm", array<int64_t>(kI64, perm));
  return m;
}

TEST_CASE("fusion: an image is quantized and transposed in one node, with the same results") {
  std::mt19937_64 g(5);
  for (const Isa isa : detected_isa_levels()) {
    for (const int threads : {1, 3}) {
      for (const int64_t channels : {1, 2, 3, 4, 7, 8, 16, 40}) {
        // A file may declare fewer channels than an input turns out to have.
        const std::string bytes = image(std::min<int64_t>(channels, 16)).bytes();
        const Session fused(read(bytes), threads, isa);
        const Session plain(read(bytes), threads, isa, {}, false);
        REQUIRE(fused.model().nodes.size() == 1);
        CHECK(fused.model().nodes[0].op == "quantize+transpose");
        for (const auto& [n, h, w] : std::vector<std::array<int64_t, 3>>{
                 {1, 1, 1}, {2, 7, 5}, {1, 16, 32}, {3, 19, 27}, {1, 90, 71}}) {
          INFO(isa_name(isa) << ", " << threads << " threads, " << channels << " channels, " << n
                             << "x" << h << "x" << w);
          const Shape shape{n, channels, h, w};
          std::vector<float> x(static_cast<size_t>(shape.elements()));
          for (float& v : x) v = std::ldexp(static_cast<float>(g() % 2001) - 1000.0f, -8);
          x[g() % x.size()] = NAN;
          x[g() % x.size()] = -HUGE_VALF;
          const auto result = [&](const Session& session) {
            const auto plan = session.plan({shape});
            std::vector<int8_t> y(x.size());
            session.run(*plan, {x.data()}, {y.data()});
            return y;
          };
          CHECK(result(fused) == result(plain));
        }
      }
    }
  }
}

TEST_CASE("fusion: other transpositions, and quantized values that others need, stay as they are") {
  ModelBuilder output = image(3);
  output.outputs.push_back("q");
  for (const ModelBuilder& m : {image(17), image(-1), image(3, {0, 3, 1, 2}), output}) {
    const Session session(read(m.bytes()), 1, resolve_isa(""));
    REQUIRE(session.model().nodes.size() == 2);
    for (const NodeInfo& node : session.model().nodes) CHECK(node.parts.empty());
  }
}

// Two convolutions of x [n, h, w, 8], of 70 and 24 channels, joined with x itself along the
// channels.
ModelBuilder branches() {
  std::mt19937_64 g(6);
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"y"};
  m.value("x", "int8", {-1, -1, -1, 8}, 0.1f, 3);
  for (const int64_t channels : {70, 24}) {
    const std::string name = std::to_string(channels);
    const int64_t k = channels == 70 ? 3 : 1;
    std::vector<int8_t> weights(static_cast<size_t>(channels * k * k * 8));
    for (int8_t& w : weights) w = static_cast<int8_t>(static_cast<int>(g() % 255) - 127);
    m.value("h" + name, "int8", {-1, -1, -1, channels}, 0.1f, 3);
    m.constant<int8_t>("w" + name, "int8", kTensorI8, {channels, k, k, 8}, weights);
    m.values.back().scale = 0.01f;
    const std::string attrs = m.node("conv2d", {"x", "w" + name}, {"h" + name});
    const auto pad = k / 2;
    m.file.set(attrs + "strides", array<int64_t>(kI64, {1, 1}));
    m.file.set(attrs + "pads", array<int64_t>(kI64, {pad, pad, pad, pad}));
    m.file.set(attrs + "dilations", array<int64_t>(kI64, {1, 1}));
    m.file.set(attrs + "groups", scalar<int64_t>(kI64, 1));
  }
  m.value("y", "int8", {-1, -1, -1, 102}, 0.1f, 3);
  const std::string attrs = m.node("concat", {"h70", "x", "h24"}, {"y"});
  m.file.set(attrs + "axis", scalar<int64_t>(kI64, 3));
  return m;
}

TEST_CASE("fusion: convolutions write where their results are joined") {
  const std::string bytes = branches().bytes();
  for (const Isa isa : detected_isa_levels()) {
    for (const int threads : {1, 2, 3, 5}) {
      const Session fused(read(bytes), threads, isa);
      const Session plain(read(bytes), threads, isa, {}, false);
      for (const Shape& shape : {Shape{1, 1, 1, 8}, Shape{2, 5, 7, 8}, Shape{1, 40, 33, 8}}) {
        INFO(isa_name(isa) << ", " << threads << " threads, " << shape.to_string());
        const auto x = random_values(shape.elements(), 7);
        const auto result = [&](const Session& session) {
          const auto plan = session.plan({shape});
          CHECK(plan->has_slices() == (&session == &fused));
          std::vector<int8_t> y(static_cast<size_t>(session.output_bytes(*plan, 0)));
          for (int repeat = 0; repeat < 2; ++repeat) session.run(*plan, {x.data()}, {y.data()});
          return y;
        };
        const std::vector<int8_t> expected = result(plain);
        CHECK(result(fused) == expected);
        if (shape[1] == 40 && threads == 1) {  // there is one buffer less; scratch counts as well
          CHECK(fused.plan({shape})->arena_bytes() < plain.plan({shape})->arena_bytes());
        }
        // Observers see dense values.
        std::map<std::string, std::vector<int8_t>> seen[2];
        for (const Session* session : {&fused, &plain}) {
          std::vector<int8_t> y(expected.size());
          session->observe(
              *session->plan({shape}), {x.data()}, {y.data()},
              [&](const ValueInfo& value, const Shape& s, const void* data, const auto&) {
                const auto* first = static_cast<const int8_t*>(data);
                seen[session == &fused][value.name].assign(first, first + s.elements());
              });
          CHECK(y == expected);
        }
        CHECK(seen[0] == seen[1]);
        CHECK(seen[0].size() == 4);
      }
    }
  }
}

TEST_CASE("fusion: what others read too is joined by copying") {
  ModelBuilder output = branches();
  output.outputs.push_back("h70");
  output.outputs.push_back("h24");
  const Session session(read(output.bytes()), 2, resolve_isa(""));
  CHECK_FALSE(session.plan({{1, 4, 4, 8}})->has_slices());
}

}  // namespace
}  // namespace zeropoint
