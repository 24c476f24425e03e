#include "ops/window.h"

#include <string>
#include <vector>

#include "ops/op_support.h"

namespace zeropoint {
namespace {

Attributes attributes(std::vector<int64_t> strides, std::vector<int64_t> pads,
                      std::vector<int64_t> dilations) {
  Attributes a;
  a.set("strides", std::move(strides));
  a.set("pads", std::move(pads));
  a.set("dilations", std::move(dilations));
  return a;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_CASE("window: offsets and sizes agree with a sliding window") {
  INFO(test::seed_note());
  auto g = test::generator("window");
  for (int round = 0; round < 60; ++round) {
    const auto one = [&](int64_t lo, int64_t hi) { return test::uniform(g, lo, hi); };
    const Window w =
        read_window(attributes({one(1, 3), one(1, 3)}, {one(0, 3), one(0, 3), one(0, 3), one(0, 3)},
                               {one(1, 3), one(1, 3)}),
                    one(1, 4), one(1, 4));
    const int64_t height = one(1, 12), width = one(1, 12), channels = one(1, 5);
    const int64_t padded_height = height + w.pads[0] + w.pads[2];
    const int64_t padded_width = width + w.pads[1] + w.pads[3];
    std::vector<int32_t> expected;
    int64_t rows = 0, columns = 0;
    std::vector<int32_t> inside_rows;
    for (int64_t top = 0; top + (w.kernel[0] - 1) * w.dilations[0] < padded_height;
         top += w.strides[0]) {
      ++rows;
      columns = 0;
      int32_t inside = 0;
      for (int64_t ky = 0; ky < w.kernel[0]; ++ky) {
        const int64_t y = top + ky * w.dilations[0] - w.pads[0];
        inside += y >= 0 && y < height;
      }
      inside_rows.push_back(inside);
      for (int64_t left = 0; left + (w.kernel[1] - 1) * w.dilations[1] < padded_width;
           left += w.strides[1]) {
        ++columns;
        for (int64_t ky = 0; ky < w.kernel[0]; ++ky) {
          for (int64_t kx = 0; kx < w.kernel[1]; ++kx) {
            const int64_t y = top + ky * w.dilations[0] - w.pads[0];
            const int64_t x = left + kx * w.dilations[1] - w.pads[1];
            const bool inside_image = y >= 0 && y < height && x >= 0 && x < width;
            expected.push_back(inside_image ? static_cast<int32_t>((y * width + x) * channels)
                                            : -1);
          }
        }
      }
    }
    if (rows == 0 || columns == 0) {
      CHECK(test::contains(error_of([&] { build_offsets(w, height, width, channels); }),
                           "larger than the padded input"));
      continue;
    }
    CHECK(output_size(w, 0, height) == rows);
    CHECK(output_size(w, 1, width) == columns);
    CHECK(window_output_shape(w, {7, height, width, 3}, 9) == Shape{7, rows, columns, 9});
    CHECK(build_offsets(w, height, width, channels) == expected);
    CHECK(inside_taps(w, 0, height) == inside_rows);
  }
}

TEST_CASE("window: bad attributes are named") {
  const auto reading = [](std::vector<int64_t> strides, std::vector<int64_t> pads,
                          std::vector<int64_t> dilations, int64_t kernel = 3) {
    return error_of([&] { read_window(attributes(strides, pads, dilations), kernel, kernel); });
  };
  CHECK(reading({1, 1}, {0, 0, 0, 0}, {1, 1}).empty());
  CHECK(test::contains(reading({0, 1}, {0, 0, 0, 0}, {1, 1}), "'strides' has the value 0"));
  CHECK(test::contains(reading({1}, {0, 0, 0, 0}, {1, 1}), "'strides' has 1 values, expected 2"));
  CHECK(test::contains(reading({1, 1}, {0, 0, -1, 0}, {1, 1}), "'pads' has the value -1"));
  CHECK(test::contains(reading({1, 1}, {0, 0}, {1, 1}), "'pads' has 2 values, expected 4"));
  CHECK(test::contains(reading({1, 1}, {0, 0, 0, INT64_MAX}, {1, 1}), "'pads'"));
  CHECK(test::contains(reading({1, 1}, {0, 0, 0, 0}, {1, INT64_MIN}), "'dilations'"));
  CHECK(test::contains(reading({1, 1}, {0, 0, 0, 0}, {1, 1}, 0), "kernel size is 0"));
  CHECK(test::contains(error_of([] { read_window(Attributes()); }), "'kernel' is missing"));
}

TEST_CASE("window: sizes beyond 32-bit offsets and huge tables are refused") {
  const Window w = read_window(Attributes(), 1, 1);
  CHECK(test::contains(error_of([&] { build_offsets(w, 1 << 16, 1 << 15, 1); }), "too large"));
  CHECK(test::contains(error_of([&] { build_offsets(w, 1 << 15, 1 << 14, 1); }), "offset table"));
  const Window big = read_window(attributes({1, 1}, {1 << 24, 1 << 24, 1 << 24, 1 << 24}, {1, 1}),
                                 1 << 24, 1 << 24);
  CHECK(test::contains(error_of([&] { build_offsets(big, 10, 10, 1); }), "too large"));
  CHECK(test::contains(error_of([&] { inside_taps(big, 0, 10); }), "too large"));
  CHECK(test::contains(error_of([&] { output_size(w, 0, 0); }), "height is 0"));
  CHECK(test::contains(error_of([&] { window_output_shape(w, {1, 2, 3}, 1); }), "[N, H, W, C]"));
}

}  // namespace
}  // namespace zeropoint
