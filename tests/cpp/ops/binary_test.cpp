#include <limits>
#include <string>
#include <vector>

#include "ops/broadcast.h"
#include "ops/op_support.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

struct Pair {
  Shape a, b;
};

// Shapes that reach each way of running: one run, scalars on either side, tiled and repeated
// operands, outer products, several outer dimensions, runs longer than one chunk.
const std::vector<Pair>& pairs() {
  static const std::vector<Pair> list = {
      {{}, {}},
      {{1}, {1, 1}},
      {{257}, {257}},
      {{2, 3, 5, 7}, {2, 3, 5, 7}},
      {{2, 5, 5, 19}, {19}},
      {{19}, {2, 5, 5, 19}},
      {{2, 5, 5, 19}, {}},
      {{1}, {3, 700}},
      {{2, 9, 9, 24}, {2, 1, 1, 24}},
      {{2, 1, 1, 24}, {2, 9, 9, 24}},
      {{2, 30, 30, 3}, {2, 1, 1, 3}},
      {{2, 6, 7, 5}, {2, 6, 7, 1}},
      {{2, 6, 7, 1}, {2, 6, 7, 5}},
      {{3, 1, 300}, {3, 4, 300}},
      {{3, 4, 1}, {3, 4, 300}},
      {{17, 1}, {1, 23}},
      {{4, 1, 6, 1}, {1, 5, 1, 7}},
      {{2, 1, 3, 1, 2}, {2, 4, 3, 5, 2}},
      {{40000}, {40000}},
      {{1, 3000, 7}, {7}},
      {{3, 3000}, {3, 1}},
      {{0, 4}, {4}},
      {{2, 1}, {1, 0}},
  };
  return list;
}

float expected_f32(const std::string& op, float a, float b, float lo, float hi) {
  const float y = op == "add" ? a + b : op == "sub" ? a - b : op == "mul" ? a * b : a / b;
  return y < lo ? lo : y > hi ? hi : y;
}

TEST_CASE("binary float32: every operator, broadcasting, constants on either side, clips") {
  INFO(test::seed_note());
  auto g = test::generator("binary f32");
  int round = 0;
  for (const Pair& pair : pairs()) {
    for (const char* op : {"add", "sub", "mul", "div"}) {
      const Tensor a = test::random_tensor(DType::f32, pair.a, g);
      const Tensor b = test::random_tensor(DType::f32, pair.b, g);
      OpTest t(op);
      const int form = round++ % 3;
      form == 1 ? t.constant(a) : t.input(a);
      form == 2 ? t.constant(b) : t.input(b);
      t.output(DType::f32);
      float lo = -std::numeric_limits<float>::infinity(), hi = -lo;
      if (round % 2 == 0) {
        t.real("clip_min", lo = -1.5f);
        t.real("clip_max", hi = 2.0f);
      }
      const Tensor y = t.run()[0];
      INFO(std::string(op) << " " << pair.a.to_string() << " " << pair.b.to_string());
      REQUIRE(y.shape == broadcast_shape(pair.a, pair.b));
      int64_t i = 0, wrong = 0;
      test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
        const float want = expected_f32(op, a.at<float>(test::position(a.shape, index)),
                                        b.at<float>(test::position(b.shape, index)), lo, hi);
        wrong += !test::same_float(y.at<float>(i++), want);
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("binary int8: add, sub and mul equal the normative arithmetic") {
  INFO(test::seed_note());
  auto g = test::generator("binary s8");
  int round = 0;
  for (const Pair& pair : pairs()) {
    for (const std::string op : {"add", "sub", "mul"}) {
      const QuantParams qa = test::random_quant(g), qb = test::random_quant(g),
                        qy = test::random_quant(g);
      const Tensor a = test::random_tensor(DType::s8, pair.a, g, qa);
      const Tensor b = test::random_tensor(DType::s8, pair.b, g, qb);
      OpTest t(op);
      const int form = round++ % 3;
      form == 1 ? t.constant(a) : t.input(a);
      form == 2 ? t.constant(b) : t.input(b);
      t.output(DType::s8, qy);
      OutputClamp clamp{qy.zero_point, kActMin, kActMax};
      if (round % 2 == 0) {
        t.integer("qmin", -100).integer("qmax", 90);
        clamp.qmin = -100 + kActOffset;
        clamp.qmax = 90 + kActOffset;
      }
      const Tensor y = t.run()[0];
      INFO(std::string(op) << " " << pair.a.to_string() << " " << pair.b.to_string());
      REQUIRE(y.shape == broadcast_shape(pair.a, pair.b));
      int64_t i = 0, wrong = 0;
      test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
        const act_t va = a.at<act_t>(test::position(a.shape, index));
        const act_t vb = b.at<act_t>(test::position(b.shape, index));
        const float ma = qa.scale / qy.scale, mb = qb.scale / qy.scale;
        const act_t want =
            op == "mul"
                ? mul(va, qa.zero_point, vb, qb.zero_point, (qa.scale * qb.scale) / qy.scale, clamp)
                : add(va, qa.zero_point, ma, vb, qb.zero_point, op == "add" ? mb : -mb, clamp);
        wrong += y.at<act_t>(i++) != want;
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("binary: the same value on both sides") {
  auto g = test::generator("binary same");
  const Tensor x = test::random_tensor(DType::f32, {3, 50}, g);
  OpTest t("mul");
  const Tensor y = t.input(x).input(x).output(DType::f32).run()[0];
  for (int64_t i = 0; i < y.elements(); ++i) {
    CHECK(y.at<float>(i) == x.at<float>(i) * x.at<float>(i));
  }
}

TEST_CASE("binary: bad nodes") {
  const Tensor f = test::make_tensor(DType::f32, {2, 3});
  const Tensor q = test::make_tensor(DType::s8, {2, 3}, {0.5f, kActOffset});
  const auto error = [](const char* op, const Tensor& a, const Tensor& b, DType y) {
    return OpTest(op).input(a).input(b).output(y).error();
  };
  CHECK(error("add", f, f, DType::f32).empty());
  CHECK(test::contains(error("add", f, test::make_tensor(DType::f32, {2, 4}), DType::f32),
                       "[2, 3] and [2, 4] cannot be broadcast"));
  CHECK(test::contains(error("div", q, q, DType::s8), "'div' has no int8 form"));
  CHECK(test::contains(error("add", f, q, DType::f32), "is int8, expected float32"));
  CHECK(test::contains(error("add", q, f, DType::s8), "is float32, expected int8"));
  CHECK(test::contains(error("add", q, q, DType::f32), "is float32, expected int8"));
  CHECK(test::contains(error("add", test::make_tensor(DType::s64, {2}), f, DType::f32),
                       "no int64 form"));
  CHECK(test::contains(OpTest("add").input(f).output(DType::f32).error(), "1 inputs, expected 2"));
  CHECK(test::contains(OpTest("add").input(f).no_input().output(DType::f32).error(),
                       "input 1 is missing"));
  CHECK(
      test::contains(OpTest("add").input(f).input(f).output(DType::f32).output(DType::f32).error(),
                     "2 outputs, expected 1"));
  CHECK(test::contains(
      OpTest("add").input(f).input(f).output(DType::f32).real("clip_min", NAN).error(),
      "clip_min <= clip_max"));
  CHECK(test::contains(OpTest("add")
                           .input(q)
                           .input(q)
                           .output(DType::s8)
                           .integer("qmin", 5)
                           .integer("qmax", 4)
                           .error(),
                       "[5, 4]"));
  CHECK(test::contains(
      OpTest("add").input(q).input(q).output(DType::s8).integer("qmax", 128).error(), "128"));
  Tensor tiny = q;
  tiny.quant.scale = 1e-38f;
  Tensor large = q;
  large.quant.scale = 1e30f;
  CHECK(test::contains(OpTest("add").input(large).input(q).output(DType::s8, tiny.quant).error(),
                       "far apart"));
  OpTest unquantized("add");
  unquantized.input(q).input(q).output(DType::s8);
  unquantized.value(1).quantized = false;
  CHECK(test::contains(unquantized.error(), "'v1' is int8 but has no scale"));
  OpTest bad_scale("add");
  bad_scale.input(q).input(q).output(DType::s8, {0.0f, kActOffset});
  CHECK(test::contains(bad_scale.error(), "finite number > 0"));
  OpTest bad_zero("add");
  bad_zero.input(q).input(q).output(DType::s8, {1.0f, kActMax + 1});
  CHECK(test::contains(bad_zero.error(), "zero point"));
  OpTest per_channel("add");
  per_channel.input(q).constant(q).output(DType::s8);
  const_cast<Constant&>(*per_channel.value(1).constant).scales = {1.0f, 2.0f};
  CHECK(test::contains(per_channel.error(), "needs one scale"));
}

}  // namespace
}  // namespace zeropoint
