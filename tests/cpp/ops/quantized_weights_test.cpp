#include "ops/quantized_weights.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "base/error.h"

namespace zeropoint {
namespace {

TEST_CASE("quantized weights: asymmetric weights whose taps 32 bits cannot count are an error") {
  // A difference of 255 takes three parts: three times the taps. Only the first weight is read
  // before the count is checked.
  const int8_t first = 127;
  ValueInfo weights;
  weights.name = "w";
  weights.dtype = DType::s8;
  weights.shape = Shape{1, (int64_t{1} << 30) - 2, 1};
  weights.constant = std::make_unique<Constant>();
  weights.constant->data = &first;
  const int8_t zero_point = -128;
  ValueInfo zero_points;
  zero_points.name = "zero_points";
  zero_points.dtype = DType::s8;
  zero_points.constant = std::make_unique<Constant>();
  zero_points.constant->data = &zero_point;
  try {
    read_integer_weights(weights, &zero_points);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(std::string(error.what()).find("'w'") != std::string::npos);
  }
}

}  // namespace
}  // namespace zeropoint
