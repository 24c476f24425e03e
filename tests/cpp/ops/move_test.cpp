// Operators that move data: transpose, slice, split, concat, pad, and the views.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "ops/op_support.h"

namespace zeropoint {
namespace {

using test::OpTest;
using test::Tensor;

constexpr DType kDTypes[] = {DType::s8, DType::f32, DType::s32, DType::s64};
constexpr QuantParams kQuant{0.25f, kActOffset + 3};

// Is element `i` of `y` element `k` of `x`?
bool same_element(const Tensor& y, int64_t i, const Tensor& x, int64_t k) {
  const auto bytes = static_cast<size_t>(dtype_size(x.dtype));
  return std::memcmp(y.bytes.data() + static_cast<size_t>(i) * bytes,
                     x.bytes.data() + static_cast<size_t>(k) * bytes, bytes) == 0;
}

void check_transpose(const Shape& shape, const std::vector<int64_t>& perm, DType dtype,
                     std::mt19937_64& g) {
  const Tensor x = test::random_tensor(dtype, shape, g, kQuant);
  OpTest t("transpose");
  if (!perm.empty()) t.ints("perm", perm);
  const Tensor y = t.input(x).output(dtype, kQuant).run()[0];
  INFO("transpose of " << shape.to_string() << ", " << dtype_name(dtype));
  REQUIRE(y.shape.rank() == shape.rank());
  int64_t i = 0, wrong = 0;
  test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
    std::vector<int64_t> from(index.size());
    for (size_t a = 0; a < index.size(); ++a) from[static_cast<size_t>(perm[a])] = index[a];
    wrong += !same_element(y, i++, x, test::position(shape, from));
  });
  CHECK(i == x.elements());
  CHECK(wrong == 0);
}

TEST_CASE("transpose: between NCHW and NHWC at block edges") {
  INFO(test::seed_note());
  auto g = test::generator("transpose");
  for (DType dtype : kDTypes) {
    for (int64_t channels : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 65}) {
      for (const auto& [height, width] :
           {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {5, 13}, {8, 8}, {9, 15}}) {
        check_transpose({2, channels, height, width}, {0, 2, 3, 1}, dtype, g);
        check_transpose({2, height, width, channels}, {0, 3, 1, 2}, dtype, g);
      }
    }
    check_transpose({1, 3, 64, 64}, {0, 2, 3, 1}, dtype, g);
  }
}

TEST_CASE("transpose: planes of a few channels into pixels, of every length around the blocks") {
  auto g = test::generator("transpose pixels");
  for (int64_t channels : {2, 3, 4}) {
    for (int64_t width : {1, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 1023, 1024, 1025, 2072}) {
      check_transpose({2, channels, 1, width}, {0, 2, 3, 1}, DType::s8, g);
    }
  }
}

TEST_CASE("transpose: every permutation of four axes, and eight axes") {
  INFO(test::seed_note());
  auto g = test::generator("transpose perm");
  std::vector<int64_t> perm{0, 1, 2, 3};
  do {
    for (DType dtype : {DType::s8, DType::f32}) {
      check_transpose({3, 4, 9, 10}, perm, dtype, g);
      check_transpose({1, 17, 1, 5}, perm, dtype, g);
    }
  } while (std::next_permutation(perm.begin(), perm.end()));
  check_transpose({2, 3, 2, 1, 3, 2, 2, 3}, {7, 0, 5, 2, 6, 1, 3, 4}, DType::s8, g);
  check_transpose({2, 3, 2, 1, 3, 2, 2, 3}, {1, 0, 2, 3, 5, 4, 6, 7}, DType::s64, g);
  check_transpose({}, {}, DType::f32, g);
  check_transpose({3, 0, 2}, {2, 1, 0}, DType::f32, g);
}

TEST_CASE("transpose: bad permutations") {
  const auto error = [](std::vector<int64_t> perm) {
    return OpTest("transpose")
        .ints("perm", std::move(perm))
        .input(test::make_tensor(DType::f32, {2, 3}))
        .output(DType::f32)
        .error();
  };
  CHECK(error({1, 0}).empty());
  CHECK(test::contains(error({0, 0}), "[0, 0] is not a permutation"));
  CHECK(test::contains(error({0, 2}), "not a permutation"));
  CHECK(test::contains(error({-1, 0}), "not a permutation"));
  CHECK(test::contains(error({0, 1, 2}), "does not fit an input of shape [2, 3]"));
  CHECK(test::contains(error({0, 1, 2, 3, 4, 5, 6, 7, 8}), "does not fit"));
}

// What Slice means, one axis at a time, without any arithmetic on the end: walk and stop.
std::vector<int64_t> sliced(int64_t start, int64_t end, int64_t step, int64_t size) {
  if (start < 0) start += size;
  if (end < 0) end += size;
  std::vector<int64_t> picked;
  if (step > 0) {
    for (int64_t i = std::max<int64_t>(start, 0); i < std::min(end, size); i += step) {
      picked.push_back(i);
    }
  } else if (size > 0) {
    for (int64_t i = std::clamp<int64_t>(start, 0, size - 1); i > std::max<int64_t>(end, -1);
         i += step) {
      picked.push_back(i);
    }
  }
  return picked;
}

TEST_CASE("slice: starts, ends and steps of either sign") {
  INFO(test::seed_note());
  auto g = test::generator("slice");
  for (int round = 0; round < 300; ++round) {
    const DType dtype = kDTypes[round % 4];
    const auto rank = static_cast<int>(test::uniform(g, 1, 4));
    Shape shape;
    for (int i = 0; i < rank; ++i) shape.push_back(test::uniform(g, 0, 9));
    if (shape.elements() == 0 && round % 5 != 0) continue;
    std::vector<std::vector<int64_t>> picked;
    std::vector<int64_t> starts, ends, axes, steps;
    for (int i = 0; i < rank; ++i) {
      if (test::uniform(g, 0, 2) == 0) {
        picked.push_back(sliced(0, shape[i], 1, shape[i]));
        continue;
      }
      starts.push_back(test::uniform(g, -12, 12));
      ends.push_back(test::uniform(g, -12, 12));
      steps.push_back(test::uniform(g, 1, 4) * (test::uniform(g, 0, 1) == 0 ? 1 : -1));
      axes.push_back(test::uniform(g, 0, 1) == 0 ? i : i - rank);
      picked.push_back(sliced(starts.back(), ends.back(), steps.back(), shape[i]));
    }
    const Tensor x = test::random_tensor(dtype, shape, g, kQuant);
    OpTest t("slice");
    if (!axes.empty()) t.ints("starts", starts).ints("ends", ends).ints("axes", axes);
    if (!axes.empty()) t.ints("steps", steps);
    const Tensor y = t.input(x).output(dtype, kQuant).run()[0];
    Shape expected;
    for (const auto& list : picked) expected.push_back(static_cast<int64_t>(list.size()));
    REQUIRE(y.shape == expected);
    int64_t i = 0, wrong = 0;
    test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
      std::vector<int64_t> from(index.size());
      for (size_t a = 0; a < index.size(); ++a) {
        from[a] = picked[a][static_cast<size_t>(index[a])];
      }
      int64_t at = 0;  // not position(): sliced axes of size 1 do not broadcast
      for (size_t a = 0; a < from.size(); ++a) at = at * shape[static_cast<int>(a)] + from[a];
      wrong += !same_element(y, i++, x, at);
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("slice: extreme attributes, defaults, and bad ones") {
  const auto slice = [](std::vector<int64_t> starts, std::vector<int64_t> ends,
                        std::vector<int64_t> steps) {
    Tensor x = test::make_tensor(DType::s32, {5});
    for (int32_t i = 0; i < 5; ++i) x.data<int32_t>()[i] = i;
    const Tensor y = OpTest("slice")
                         .ints("starts", std::move(starts))
                         .ints("ends", std::move(ends))
                         .ints("steps", std::move(steps))
                         .input(x)
                         .output(DType::s32)
                         .run()[0];
    return std::vector<int32_t>(y.data<int32_t>(), y.data<int32_t>() + y.elements());
  };
  using List = std::vector<int32_t>;
  CHECK(slice({INT64_MIN}, {INT64_MAX}, {1}) == List{0, 1, 2, 3, 4});
  CHECK(slice({INT64_MAX}, {INT64_MIN}, {-1}) == List{4, 3, 2, 1, 0});
  CHECK(slice({INT64_MAX}, {INT64_MIN}, {INT64_MIN}) == List{4});
  CHECK(slice({0}, {INT64_MAX}, {INT64_MAX}) == List{0});
  CHECK(slice({1}, {INT64_MAX}, {2}) == List{1, 3});
  CHECK(slice({-1}, {INT64_MIN}, {-2}) == List{4, 2, 0});
  CHECK(slice({3}, {3}, {1}).empty());
  CHECK(slice({4}, {2}, {1}).empty());

  const auto error = [](std::vector<int64_t> starts, std::vector<int64_t> ends,
                        std::vector<int64_t> axes, std::vector<int64_t> steps) {
    return OpTest("slice")
        .ints("starts", std::move(starts))
        .ints("ends", std::move(ends))
        .ints("axes", std::move(axes))
        .ints("steps", std::move(steps))
        .input(test::make_tensor(DType::f32, {5, 6}))
        .output(DType::f32)
        .error();
  };
  CHECK(test::contains(error({0}, {1}, {0}, {0}), "a step is 0"));
  CHECK(test::contains(error({0}, {1}, {2}, {1}), "axis 2 does not exist"));
  CHECK(test::contains(error({0, 0}, {1, 1}, {1, -1}, {1, 1}), "listed twice"));
  CHECK(test::contains(error({0}, {1, 2}, {0}, {1}), "1, 2, 1 and 1 values"));
}

TEST_CASE("split: all parts, empty ones included") {
  INFO(test::seed_note());
  auto g = test::generator("split");
  for (DType dtype : kDTypes) {
    for (int64_t axis : {0, 1, 2, -1}) {
      const Shape shape{6, 10, 7};
      const int a = static_cast<int>(axis < 0 ? axis + 3 : axis);
      const std::vector<int64_t> sizes{1, shape[a] - 3, 0, 2};
      const Tensor x = test::random_tensor(dtype, shape, g, kQuant);
      OpTest t("split");
      t.integer("axis", axis).ints("sizes", sizes).input(x);
      for (size_t i = 0; i < sizes.size(); ++i) t.output(dtype, kQuant);
      const std::vector<Tensor> parts = t.run();
      int64_t first = 0;
      for (size_t p = 0; p < parts.size(); ++p) {
        REQUIRE(parts[p].shape[a] == sizes[p]);
        int64_t i = 0, wrong = 0;
        test::for_each_index(parts[p].shape, [&](const std::vector<int64_t>& index) {
          std::vector<int64_t> from = index;
          from[static_cast<size_t>(a)] += first;
          wrong += !same_element(parts[p], i++, x, test::position(shape, from));
        });
        CHECK(wrong == 0);
        first += sizes[p];
      }
    }
  }
  const auto error = [](std::vector<int64_t> sizes, int outputs) {
    OpTest t("split");
    t.integer("axis", 1).ints("sizes", std::move(sizes));
    t.input(test::make_tensor(DType::f32, {2, 5}));
    for (int i = 0; i < outputs; ++i) t.output(DType::f32);
    return t.error();
  };
  CHECK(error({2, 3}, 2).empty());
  CHECK(test::contains(error({2, 3}, 3), "3 outputs and 2 sizes"));
  CHECK(test::contains(error({2, 2}, 2), "add up to 4, but axis 1"));
  CHECK(test::contains(error({6, -1}, 2), "size 1 is -1"));
  CHECK(test::contains(error({INT64_MAX, INT64_MAX}, 2), "too large"));
}

TEST_CASE("concat: any axis, any number of inputs, constants among them") {
  INFO(test::seed_note());
  auto g = test::generator("concat");
  for (DType dtype : kDTypes) {
    for (int64_t axis : {0, 1, 2, 3, -1}) {
      const auto a = static_cast<int>(axis < 0 ? axis + 4 : axis);
      OpTest t("concat");
      t.integer("axis", axis).output(dtype, kQuant);
      std::vector<Tensor> parts;
      for (int64_t size : {3, 1, 0, 24}) {
        Shape shape{2, 5, 4, 9};
        shape[a] = size;
        parts.push_back(test::random_tensor(dtype, shape, g, kQuant));
        size == 1 ? t.constant(parts.back()) : t.input(parts.back());
      }
      const Tensor y = t.run()[0];
      REQUIRE(y.shape[a] == 28);
      int64_t i = 0, wrong = 0;
      test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
        std::vector<int64_t> from = index;
        int64_t& at = from[static_cast<size_t>(a)];
        size_t p = 0;
        while (at >= parts[p].shape[a]) at -= parts[p++].shape[a];
        wrong += !same_element(y, i++, parts[p], test::position(parts[p].shape, from));
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("concat: bad nodes") {
  const auto error = [](const Shape& a, const Shape& b, int64_t axis) {
    return OpTest("concat")
        .integer("axis", axis)
        .input(test::make_tensor(DType::f32, a))
        .input(test::make_tensor(DType::f32, b))
        .output(DType::f32)
        .error();
  };
  CHECK(error({2, 3}, {2, 5}, 1).empty());
  CHECK(test::contains(error({2, 3}, {3, 3}, 1), "input 1 has shape [3, 3] and input 0 [2, 3]"));
  CHECK(test::contains(error({2, 3}, {2, 3, 1}, 1), "may differ only along axis 1"));
  CHECK(test::contains(error({2, 3}, {2, 3}, 2), "axis 2 does not exist"));
  CHECK(test::contains(OpTest("concat").integer("axis", 0).output(DType::f32).error(),
                       "at least one input"));
  const Tensor q = test::make_tensor(DType::s8, {2}, kQuant);
  Tensor other = q;
  other.quant.zero_point -= 1;
  CHECK(test::contains(
      OpTest("concat").integer("axis", 0).input(q).input(other).output(DType::s8, kQuant).error(),
      "requantize the input with a lookup"));
  CHECK(test::contains(OpTest("concat")
                           .integer("axis", 0)
                           .input(q)
                           .input(test::make_tensor(DType::f32, {2}))
                           .output(DType::s8, kQuant)
                           .error(),
                       "keeps the dtype"));
}

struct PadCase {
  Shape shape;
  std::vector<int64_t> pads;
};

TEST_CASE("pad: constant, reflect and edge, with crops") {
  INFO(test::seed_note());
  auto g = test::generator("pad");
  const std::vector<PadCase> cases = {
      {{2, 5, 6, 3}, {0, 1, 2, 0, 0, 3, 4, 0}},
      {{2, 5, 6, 3}, {0, -1, 2, 0, 0, 2, -3, 0}},
      {{5}, {4, 4}},
      {{5}, {-2, 0}},
      {{3, 4}, {1, 0, 0, 2}},
      {{3, 4}, {0, 0, 0, 0}},
      {{2, 3, 4}, {1, 2, 3, 0, 1, 2}},
      {{7, 2}, {-3, 0, -4, 0}},
      {{1, 30, 31, 16}, {0, 3, 3, 0, 0, 3, 3, 0}},
      {{6, 9}, {-5, 1, 0, 1}},
  };
  for (const PadCase& c : cases) {
    for (const std::string mode : {"constant", "reflect", "edge"}) {
      for (DType dtype : kDTypes) {
        const auto rank = static_cast<size_t>(c.shape.rank());
        bool reflects = true;
        for (size_t a = 0; a < rank; ++a) {
          const int64_t kept = c.shape[static_cast<int>(a)] + std::min<int64_t>(c.pads[a], 0) +
                               std::min<int64_t>(c.pads[rank + a], 0);
          const int64_t margin = std::max(c.pads[a], c.pads[rank + a]);
          if (margin > 0 && margin >= kept) reflects = false;
        }
        const Tensor x = test::random_tensor(dtype, c.shape, g, kQuant);
        OpTest t("pad");
        t.ints("pads", c.pads).text("mode", mode).real("value", 3.0).input(x).output(dtype, kQuant);
        INFO("pad " << c.shape.to_string() << " mode " << mode << " " << dtype_name(dtype));
        const bool empty = c.pads == std::vector<int64_t>{-3, 0, -4, 0};
        if (mode == "reflect" && !reflects) {
          CHECK(test::contains(t.error(), "reflection needs pads smaller"));
          continue;
        }
        const Tensor y = t.run()[0];
        if (empty) CHECK(y.elements() == 0);
        Tensor fill = test::make_tensor(dtype, {1});
        switch (dtype) {
          case DType::f32:
            fill.data<float>()[0] = 3.0f;
            break;
          case DType::s8:  // 3 / 0.25 = 12 above the zero point
            fill.data<act_t>()[0] = static_cast<act_t>(kQuant.zero_point + 12);
            break;
          case DType::s32:
            fill.data<int32_t>()[0] = 3;
            break;
          case DType::s64:
            fill.data<int64_t>()[0] = 3;
            break;
          case DType::u8:  // at a session's border only
            FAIL("not a dtype of operators");
            break;
        }
        int64_t i = 0, wrong = 0;
        test::for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
          bool outside = false;
          int64_t at = 0;
          for (size_t a = 0; a < rank; ++a) {
            const int64_t size = c.shape[static_cast<int>(a)];
            int64_t p = index[a] - c.pads[a];
            if (p < 0 || p >= size) {
              outside = true;
              if (mode == "edge") p = p < 0 ? 0 : size - 1;
              if (mode == "reflect") p = p < 0 ? -p : 2 * size - 2 - p;
            }
            at = at * size + p;
          }
          wrong += mode == "constant" && outside ? !same_element(y, i, fill, 0)
                                                 : !same_element(y, i, x, at);
          ++i;
        });
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("pad: bad nodes") {
  const auto pad = [](std::vector<int64_t> pads, const std::string& mode, double value,
                      DType dtype = DType::f32) {
    return OpTest("pad")
        .ints("pads", std::move(pads))
        .text("mode", mode)
        .real("value", value)
        .input(test::make_tensor(dtype, {2, 3}))
        .output(dtype)
        .error();
  };
  CHECK(pad({0, 1, 0, 1}, "edge", 0).empty());
  CHECK(test::contains(pad({0, 1, 0}, "edge", 0), "'pads' has 3 values"));
  CHECK(test::contains(pad({0, 1, 0, 1}, "wrap", 0), "'wrap' is unknown"));
  CHECK(test::contains(pad({0, -2, 0, -2}, "constant", 0), "more is cropped than there is"));
  CHECK(pad({-1, 0, -1, 1}, "edge", 0).empty());  // nothing is left, nothing is repeated
  CHECK(test::contains(pad({0, -3, 0, 1}, "edge", 0), "no edge to repeat"));
  CHECK(test::contains(pad({0, 0, INT64_MAX, 0}, "constant", 0), "too large"));
  CHECK(test::contains(pad({0, 0, int64_t{1} << 40, 0}, "constant", 0), "too large"));
  CHECK(test::contains(pad({0, 0, 1, 0}, "constant", 0.5, DType::s32), "not an integer"));
  CHECK(test::contains(pad({0, 0, 1, 0}, "constant", 3e9, DType::s32), "not an integer that fits"));
  CHECK(test::contains(pad({0, 0, 1, 0}, "constant", NAN, DType::s64), "not an integer"));
}

TEST_CASE("views: the same bytes under another shape") {
  auto g = test::generator("views");
  struct Case {
    const char* op;
    const char* key;
    std::vector<int64_t> list;
    Shape x, y;
  };
  const std::vector<Case> cases = {
      {"reshape", "shape", {0, -1}, {2, 3, 4}, {2, 12}},
      {"reshape", "shape", {4, 3, 2}, {2, 3, 4}, {4, 3, 2}},
      {"reshape", "shape", {-1}, {}, {1}},
      {"reshape", "", {}, {1, 1}, {}},
      {"reshape", "shape", {0, 0}, {0, 3}, {0, 3}},
      {"squeeze", "axes", {1, -1}, {2, 1, 3, 1}, {2, 3}},
      {"squeeze", "", {}, {2, 1}, {2, 1}},
      {"unsqueeze", "axes", {0, 3}, {2, 3}, {1, 2, 3, 1}},
      {"unsqueeze", "axes", {-1}, {2, 3}, {2, 3, 1}},
      {"unsqueeze", "axes", {0}, {}, {1}},
  };
  for (const Case& c : cases) {
    for (DType dtype : kDTypes) {
      const Tensor x = test::random_tensor(dtype, c.x, g, kQuant);
      for (bool constant : {false, true}) {
        OpTest t(c.op);
        if (*c.key != 0) t.ints(c.key, c.list);
        constant ? t.constant(x) : t.input(x);
        const Tensor y = t.output(dtype, kQuant).run()[0];
        CHECK(y.shape == c.y);
        CHECK(y.bytes == x.bytes);
      }
    }
  }
  for (const auto& [axis, y] : std::vector<std::pair<int64_t, Shape>>{
           {0, {1, 24}}, {1, {2, 12}}, {3, {24, 1}}, {-1, {6, 4}}, {-3, {1, 24}}}) {
    OpTest t("flatten");
    t.integer("axis", axis).input(test::make_tensor(DType::f32, {2, 3, 4})).output(DType::f32);
    CHECK(t.run()[0].shape == y);
  }
}

TEST_CASE("views: bad nodes") {
  const auto view = [](const char* op, const char* key, std::vector<int64_t> list, const Shape& x) {
    return OpTest(op)
        .ints(key, std::move(list))
        .input(test::make_tensor(DType::f32, x))
        .output(DType::f32)
        .error();
  };
  CHECK(test::contains(view("reshape", "shape", {5, 5}, {2, 3}),
                       "shape [2, 3] cannot be given the shape [5, 5]"));
  CHECK(test::contains(view("reshape", "shape", {-1, 4}, {2, 3}), "cannot be given"));
  CHECK(test::contains(view("reshape", "shape", {-1, -1}, {2, 3}), "more than one -1"));
  CHECK(test::contains(view("reshape", "shape", {-2, 3}, {2, 3}), "expected >= -1"));
  CHECK(test::contains(view("reshape", "shape", {2, 3, 0}, {2, 3}), "copies dimension 2"));
  CHECK(test::contains(view("reshape", "shape", {0, -1}, {0, 3}), "cannot be given"));
  CHECK(test::contains(view("reshape", "shape", {INT64_MAX, INT64_MAX}, {2, 3}), "too large"));
  CHECK(test::contains(view("reshape", "shape", {1, 1, 1, 1, 1, 1, 1, 1, 6}, {2, 3}),
                       "more than 8 dimensions"));
  CHECK(test::contains(view("squeeze", "axes", {0}, {2, 3}), "axis 0"));
  CHECK(test::contains(view("squeeze", "axes", {5}, {2, 3}), "does not exist"));
  CHECK(test::contains(view("unsqueeze", "axes", {0, 0}, {2}), "listed twice"));
  CHECK(test::contains(view("unsqueeze", "axes", {0, 1, 2, 3}, {1, 1, 1, 1, 1}),
                       "more than 8 dimensions"));
  CHECK(test::contains(OpTest("flatten")
                           .integer("axis", 4)
                           .input(test::make_tensor(DType::f32, {2, 3, 4}))
                           .output(DType::f32)
                           .error(),
                       "axis 4 does not fit"));
  OpTest quant("reshape");
  quant.ints("shape", {2}).input(test::make_tensor(DType::s8, {2}, kQuant));
  CHECK(test::contains(quant.output(DType::s8, {0.5f, kActOffset}).error(), "must have the same"));
  OpTest dtype("reshape");
  dtype.ints("shape", {2}).input(test::make_tensor(DType::f32, {2})).output(DType::s32);
  CHECK(test::contains(dtype.error(), "keeps the dtype"));
}

}  // namespace
}  // namespace zeropoint
