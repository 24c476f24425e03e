// A zero point that is a value of the graph: int8 like the data it belongs to, an activation or a
// constant, one for the tensor or one for each row or column.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "ops/checks.h"
#include "ops/operand.h"

namespace zeropoint {

class ZeroPoint {
 public:
  // `value` may be nullptr: 0 in the int8 domain.
  explicit ZeroPoint(const ValueInfo* value) {
    if (value == nullptr) return;
    expect_dtype(*value, DType::s8);
    operand_ = std::make_unique<Operand>(*value);
  }

  // One zero point, or `count` of them; anything else is an Error that names `what` they are for.
  void check_shape(const Shape& shape, int64_t count, const char* what) const {
    if (operand_ == nullptr || shape.rank() == 0) return;
    if (shape.rank() == 1 && (shape[0] == 1 || shape[0] == count)) return;
    throw Error(ErrorCode::invalid_argument, "the zero points of " + std::string(what) +
                                                 " have the shape " + shape.to_string() +
                                                 "; expected one, or " + std::to_string(count));
  }

  // The zero points in the stored domain, given the pointer that the run was handed.
  const act_t* stored(const void* input) const {
    return operand_ == nullptr ? &kZero : operand_->as<act_t>(input);
  }

 private:
  static constexpr act_t kZero = static_cast<act_t>(kActOffset);
  std::unique_ptr<Operand> operand_;
};

}  // namespace zeropoint
