#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ops/op_support.h"
#include "quant/reduce_f32.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

struct AxisCase {
  Shape shape;
  int64_t axis;
};

const std::vector<AxisCase>& axis_cases() {
  static const std::vector<AxisCase> list = {
      {{10}, 0},           {{3, 1000}, -1},          {{2, 5, 7, 33}, 1},
      {{2, 5, 7, 33}, 3},  {{4, 1, 17}, 1},          {{65, 3, 130}, 0},
      {{2, 3, 200, 1}, 2}, {{1, 2, 2, 2, 2, 2}, -3}, {{300, 16, 9}, 2},
  };
  return list;
}

// The axis as outer x count x inner.
struct Split {
  int64_t outer, count, inner;
  explicit Split(const AxisCase& c) {
    const int rank = c.shape.rank();
    const auto axis = static_cast<int>(c.axis < 0 ? c.axis + rank : c.axis);
    outer = c.shape.elements(0, axis);
    count = c.shape[axis];
    inner = c.shape.elements(axis + 1, rank);
  }
  int64_t at(int64_t o, int64_t i, int64_t n) const { return (o * count + i) * inner + n; }
};

std::vector<float> exponentials(float scale) {
  std::vector<float> table(256);
  for (size_t d = 0; d < 256; ++d) {
    table[d] = static_cast<float>(std::exp(-static_cast<double>(scale) * static_cast<double>(d)));
  }
  return table;
}

Tensor table_tensor(const std::vector<float>& entries) {
  Tensor t = test::make_tensor(DType::f32, {static_cast<int64_t>(entries.size())});
  std::copy(entries.begin(), entries.end(), t.data<float>());
  return t;
}

TEST_CASE("softmax float32: any axis") {
  INFO(test::seed_note());
  auto g = test::generator("softmax f32");
  for (const AxisCase& c : axis_cases()) {
    const Tensor x = test::random_tensor(DType::f32, c.shape, g);
    const Tensor y = OpTest("softmax").integer("axis", c.axis).input(x).output(DType::f32).run()[0];
    REQUIRE(y.shape == c.shape);
    const Split s(c);
    int64_t wrong = 0;
    for (int64_t o = 0; o < s.outer; ++o) {
      for (int64_t n = 0; n < s.inner; ++n) {
        double sum = 0.0;
        for (int64_t i = 0; i < s.count; ++i) {
          sum += std::exp(static_cast<double>(x.at<float>(s.at(o, i, n))));
        }
        for (int64_t i = 0; i < s.count; ++i) {
          const double want = std::exp(static_cast<double>(x.at<float>(s.at(o, i, n)))) / sum;
          wrong += !(std::fabs(y.at<float>(s.at(o, i, n)) - want) <= 1e-6 * want + 1e-9);
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("softmax int8: any axis, to the bit") {
  INFO(test::seed_note());
  auto g = test::generator("softmax s8");
  for (const AxisCase& c : axis_cases()) {
    const QuantParams qx = test::random_quant(g);
    const QuantParams qy{1.0f / 256.0f, kActMin};
    const std::vector<float> table = exponentials(qx.scale);
    const Tensor x = test::random_tensor(DType::s8, c.shape, g, qx);
    const Tensor y = OpTest("softmax")
                         .integer("axis", c.axis)
                         .input(x)
                         .constant(table_tensor(table))
                         .output(DType::s8, qy)
                         .run()[0];
    const Split s(c);
    const OutputClamp clamp{qy.zero_point, kActMin, kActMax};
    int64_t wrong = 0;
    for (int64_t o = 0; o < s.outer; ++o) {
      for (int64_t n = 0; n < s.inner; ++n) {
        int largest = kActMin;
        for (int64_t i = 0; i < s.count; ++i) {
          largest = std::max<int>(largest, x.at<act_t>(s.at(o, i, n)));
        }
        std::vector<float> e;
        for (int64_t i = 0; i < s.count; ++i) {
          e.push_back(table[static_cast<size_t>(largest - x.at<act_t>(s.at(o, i, n)))]);
        }
        const float m = (1.0f / sum_f32(e.data(), s.count)) / qy.scale;
        for (int64_t i = 0; i < s.count; ++i) {
          wrong += y.at<act_t>(s.at(o, i, n)) != round_clamp(e[static_cast<size_t>(i)] * m, clamp);
        }
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("softmax: bad nodes") {
  const QuantParams q{0.1f, kActOffset};
  const Tensor x = test::make_tensor(DType::s8, {2, 3}, q);
  const auto with_table = [&](const Tensor& table, QuantParams y = {1.0f / 256, kActMin}) {
    return OpTest("softmax").input(x).constant(table).output(DType::s8, y).error();
  };
  std::vector<float> entries = exponentials(0.1f);
  CHECK(with_table(table_tensor(entries)).empty());
  CHECK(test::contains(with_table(table_tensor(entries), {1e-42f, kActMin}), "far apart"));
  CHECK(test::contains(OpTest("softmax").input(x).output(DType::s8, q).error(),
                       "input 1 is missing"));
  entries[7] = NAN;
  CHECK(test::contains(with_table(table_tensor(entries)), "entry 7"));
  entries[7] = 2.0f;
  CHECK(test::contains(with_table(table_tensor(entries)), "entry 7"));
  CHECK(test::contains(with_table(table_tensor(std::vector<float>(256, 0.0f))), "entry 0"));
  CHECK(test::contains(with_table(table_tensor(std::vector<float>(255, 1.0f))), "[256]"));
  CHECK(test::contains(with_table(test::make_tensor(DType::s8, {256}, q)), "expected float32"));
  const Tensor f = test::make_tensor(DType::f32, {2, 3});
  CHECK(test::contains(OpTest("softmax").integer("axis", 2).input(f).output(DType::f32).error(),
                       "axis 2 does not exist"));
  CHECK(test::contains(
      OpTest("softmax").input(f).constant(table_tensor(exponentials(1))).output(DType::f32).error(),
      "takes no table"));
  CHECK(test::contains(OpTest("softmax").input(f).output(DType::s8, q).error(), "keeps the dtype"));
}

TEST_CASE("argmax: any axis, first or last of equals") {
  INFO(test::seed_note());
  auto g = test::generator("argmax");
  for (const AxisCase& c : axis_cases()) {
    for (DType dtype : {DType::s8, DType::f32}) {
      for (int64_t last : {0, 1}) {
        for (int64_t keepdims : {0, 1}) {
          Tensor x = test::random_tensor(dtype, c.shape, g, test::random_quant(g));
          if (dtype == DType::s8) {  // many equal values
            for (uint8_t& b : x.bytes) b = static_cast<uint8_t>(b & 0x83);
          }
          const Tensor y = OpTest("argmax")
                               .integer("axis", c.axis)
                               .integer("keepdims", keepdims)
                               .integer("select_last", last)
                               .input(x)
                               .output(DType::s64)
                               .run()[0];
          CHECK(y.shape.rank() == c.shape.rank() - (keepdims ? 0 : 1));
          const Split s(c);
          REQUIRE(y.elements() == s.outer * s.inner);
          int64_t wrong = 0;
          for (int64_t o = 0; o < s.outer; ++o) {
            for (int64_t n = 0; n < s.inner; ++n) {
              const auto value = [&](int64_t i) {
                return dtype == DType::s8 ? static_cast<float>(x.at<act_t>(s.at(o, i, n)))
                                          : x.at<float>(s.at(o, i, n));
              };
              int64_t best = 0;
              for (int64_t i = 1; i < s.count; ++i) {
                if (value(i) > value(best) || (last == 1 && value(i) == value(best))) best = i;
              }
              wrong += y.at<int64_t>(o * s.inner + n) != best;
            }
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
  const auto error = [](const Shape& shape, int64_t axis, DType dtype) {
    return OpTest("argmax")
        .integer("axis", axis)
        .input(test::make_tensor(DType::f32, shape))
        .output(dtype)
        .error();
  };
  CHECK(error({2, 3}, 1, DType::s64).empty());
  CHECK(test::contains(error({2, 3}, 2, DType::s64), "axis 2 does not exist"));
  CHECK(test::contains(error({2, 0}, 1, DType::s64), "no element"));
  CHECK(test::contains(error({2, 3}, 1, DType::s32), "expected int64"));
  CHECK(test::contains(error({}, 0, DType::s64), "does not exist"));
}

}  // namespace
}  // namespace zeropoint
