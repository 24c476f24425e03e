// The C++ header over the C interface.
#include <zeropoint.hpp>

#include <functional>
#include <type_traits>
#include <utility>

#include "runtime/gguf_builder.h"
#include "support.h"

namespace zeropoint {
namespace {

zp_status status_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const zp::Error& error) {
    CHECK_FALSE(std::string(error.what()).empty());
    return error.status();
  }
  return ZP_OK;
}

TEST_CASE("C++ interface: runs a model, owns its session, throws") {
  static_assert(!std::is_copy_constructible_v<zp::Session>);
  static_assert(std::is_nothrow_move_constructible_v<zp::Tensor>);
  const std::string bytes = test::small_model().bytes();
  zp::Options options;
  options.threads = 2;
  zp::Session first(bytes.data(), bytes.size(), options);
  const zp::Session session = std::move(first);
  CHECK(session.threads() == 2);
  CHECK(session.cache().state == "off");
  REQUIRE(session.inputs().size() == 1);
  CHECK(session.inputs()[0].name == "x");
  CHECK(session.inputs()[0].has_free_dimensions());
  CHECK(session.inputs()[0].shape == zp::Shape{-1, 4});

  zp::Tensor x(ZP_FLOAT32, {2, 4});
  for (size_t i = 0; i < x.elements(); ++i) x.as<float>()[i] = static_cast<float>(i) - 3.0f;
  const std::vector<zp::Tensor> y = session.run({x});
  REQUIRE(y.size() == 1);
  CHECK(y[0].shape() == zp::Shape{2, 3});
  CHECK(y[0].dtype() == ZP_FLOAT32);
  CHECK(session.output_shapes({{2, 4}})[0] == zp::Shape{2, 3});

  const zp::Profile profile = session.profile({{x.data(), x.bytes()}}, {{2, 4}}, 2);
  REQUIRE(profile.nodes.size() == 3);
  CHECK(profile.nodes[1].op == "linear");
  CHECK(profile.run_seconds > 0.0);
  CHECK(session.memory({{2, 4}}).arena_bytes > 0);

  CHECK(status_of([&] { session.run({}); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { session.run({x, x}); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { session.run({zp::Tensor(ZP_INT32, {2, 4})}); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { session.run({zp::Tensor(ZP_FLOAT32, {2, 5})}); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { session.profile({}, {{2, 4}}, 1); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { session.profile({{}, {}}, {{2, 4}}, 1); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { zp::Session("/nonexistent/model.gguf"); }) == ZP_IO);
  CHECK(status_of([&] { zp::Tensor(ZP_FLOAT32, {2, -1}); }) == ZP_INVALID_ARGUMENT);
  CHECK(status_of([&] { zp::Tensor(ZP_FLOAT32, zp::Shape(9, 1)); }) == ZP_INVALID_ARGUMENT);
  options.isa = "no such level";
  CHECK(status_of([&] { zp::Session(bytes.data(), bytes.size(), options); }) == ZP_ISA);
}

TEST_CASE("C++ interface: levels and version") {
  const std::vector<zp::IsaLevel> levels = zp::isa_levels();
  REQUIRE_FALSE(levels.empty());
  CHECK(levels[0].name == "portable");
  CHECK(levels[0].detected);
  CHECK(zp::version() == zp_version());
}

}  // namespace
}  // namespace zeropoint
