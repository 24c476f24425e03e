// The operator table, and every operator against attributes and shapes that make no sense.
#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ops/op_support.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

TEST_CASE("operator table: sorted, unique, and unknown names are refused") {
  std::vector<std::string> names;
  for (const OpEntry& entry : op_entries()) {
    names.emplace_back(entry.name);
    CHECK((entry.make != nullptr));
  }
  CHECK(std::is_sorted(names.begin(), names.end()));
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  OpTest t("fft");
  t.input(test::make_tensor(DType::f32, {1})).output(DType::f32);
  CHECK(test::contains(t.error(), "no operator 'fft'"));
  try {
    t.make();
    FAIL("made");
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::unsupported);
  }
}

TEST_CASE("operator table: a node without inputs or outputs is an error for each") {
  for (const OpEntry& entry : op_entries()) {
    INFO(std::string(entry.name));
    CHECK(!OpTest(entry.name).error().empty());
    CHECK(!OpTest(entry.name).input(test::make_tensor(DType::f32, {1, 2, 2, 1})).error().empty());
    CHECK(!OpTest(entry.name).no_input().output(DType::f32).error().empty());
  }
}

// Either an Error, or a run that stays within its buffers (sanitizers and guards watch). Anything
// else, such as another exception or a crash, fails.
void run_or_refuse(const OpTest& t, int64_t& ran) {
  try {
    const std::unique_ptr<Op> op = t.make();
    const std::vector<Shape> outputs = op->infer(t.shapes());
    for (const Shape& shape : outputs) {
      if (shape.elements() > 1 << 16) return;
    }
    t.run();
    ++ran;
  } catch (const Error&) {
  }
}

TEST_CASE("operators survive random attributes") {
  INFO(test::seed_note());
  auto g = test::generator("hostile");
  const auto number = [&]() -> int64_t {
    static constexpr int64_t kEdges[] = {INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, -1,   0,
                                         1,         2,         1 << 24,   255,       -128, 7};
    return test::uniform(g, 0, 5) == 0 ? kEdges[test::uniform(g, 0, 11)] : test::uniform(g, -3, 5);
  };
  const auto list = [&] {
    std::vector<int64_t> values(static_cast<size_t>(test::uniform(g, 0, 6)));
    for (int64_t& v : values) v = number();
    return values;
  };
  struct Target {
    const char* op;
    std::vector<const char*> lists, numbers;
  };
  const std::vector<Target> targets = {
      {"avg_pool2d", {"kernel", "strides", "pads", "dilations"}, {"count_include_pad"}},
      {"max_pool2d", {"kernel", "strides", "pads", "dilations"}, {}},
      {"reduce_mean", {"axes"}, {"keepdims"}},
      {"concat", {}, {"axis"}},
      {"pad", {"pads"}, {"value"}},
      {"resize", {"sizes"}, {}},
      {"reshape", {"shape"}, {}},
      {"flatten", {}, {"axis"}},
      {"squeeze", {"axes"}, {}},
      {"unsqueeze", {"axes"}, {}},
      {"transpose", {"perm"}, {}},
      {"slice", {"starts", "ends", "axes", "steps"}, {}},
      {"split", {"sizes"}, {"axis"}},
      {"argmax", {}, {"axis", "keepdims", "select_last"}},
      {"softmax", {}, {"axis"}},
      {"add", {}, {"qmin", "qmax", "clip_min"}},
  };
  int64_t ran = 0;
  for (const Target& target : targets) {
    INFO(std::string(target.op));
    for (int round = 0; round < 150; ++round) {
      const DType dtype = round % 2 == 0 ? DType::f32 : DType::s8;
      const QuantParams q{0.5f, kActOffset};
      OpTest t(target.op);
      for (const char* key : target.lists) {
        if (test::uniform(g, 0, 3) != 0) t.ints(key, list());
      }
      for (const char* key : target.numbers) {
        if (test::uniform(g, 0, 3) != 0) t.integer(key, number());
      }
      Shape shape;
      for (int64_t i = test::uniform(g, 0, 4); i > 0; --i) shape.push_back(test::uniform(g, 0, 5));
      t.input(test::random_tensor(dtype, shape, g, q));
      if (std::string(target.op) == "add") t.input(test::random_tensor(dtype, shape, g, q));
      t.output(std::string(target.op) == "argmax" ? DType::s64 : dtype, q);
      run_or_refuse(t, ran);
    }
  }
  CHECK(ran > 200);  // some of it makes sense
}

}  // namespace
}  // namespace zeropoint
