// cast between float32, int32 and int64.
#include <cstdint>
#include <limits>
#include <memory>

#include "ops/checks.h"
#include "ops/factories.h"
#include "ops/operand.h"
#include "ops/plan.h"

namespace zeropoint {
namespace {

// Integers to float32 round to nearest, ties to even; wider integers keep their low bits.
template <typename To, typename From>
To convert(From x) {
  return static_cast<To>(x);
}
// Toward zero, saturating; a NaN gives 0. The bounds are powers of two, so exact in float32.
template <typename To>
To truncate(float x) {
  constexpr float kBound = static_cast<float>(std::numeric_limits<To>::max() / 2 + 1) * 2.0f;
  if (!(x == x)) return 0;
  if (x >= kBound) return std::numeric_limits<To>::max();
  if (x < -kBound) return std::numeric_limits<To>::min();
  return static_cast<To>(x);
}
template <>
int32_t convert<int32_t, float>(float x) {
  return truncate<int32_t>(x);
}
template <>
int64_t convert<int64_t, float>(float x) {
  return truncate<int64_t>(x);
}
template <>
int32_t convert<int32_t, int64_t>(int64_t x) {
  return static_cast<int32_t>(static_cast<uint32_t>(x));
}

template <typename From, typename To>
void convert_run(const void* from, void* to, int64_t begin, int64_t end) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  for (int64_t i = begin; i < end; ++i) y[i] = convert<To, From>(x[i]);
}

using Run = void (*)(const void*, void*, int64_t, int64_t);

template <typename From>
Run run_to(DType to) {
  switch (to) {
    case DType::f32:
      return convert_run<From, float>;
    case DType::s32:
      return convert_run<From, int32_t>;
    case DType::s64:
      return convert_run<From, int64_t>;
    default:
      return nullptr;
  }
}

Run choose(DType from, DType to) {
  switch (from) {
    case DType::f32:
      return run_to<float>(to);
    case DType::s32:
      return run_to<int32_t>(to);
    case DType::s64:
      return run_to<int64_t>(to);
    default:
      return nullptr;
  }
}

class Cast final : public Op {
 public:
  Cast(const NodeInfo& node, Run run) : x_(node.input(0)), run_(run) {}

  std::vector<Shape> infer(const std::vector<Shape>& inputs) const override { return {inputs[0]}; }

  std::unique_ptr<Plan> plan(const std::vector<Shape>& inputs,
                             const std::vector<Shape>&) const override {
    const int64_t elements = inputs[0].elements();
    return make_plan(
        [this, elements](const void* const* in, void* const* out, RunContext& context) {
          const void* x = x_.resolve(in[0]);
          context.pool.parallel_for(elements, grain_for(0.5), [&](int64_t begin, int64_t end, int) {
            run_(x, out[0], begin, end);
          });
        });
  }
  size_t packed_bytes() const override { return x_.bytes(); }

 private:
  Operand x_;
  Run run_;
};

}  // namespace

std::unique_ptr<Op> make_cast(const NodeInfo& node, const OpContext&) {
  expect_inputs(node, 1, 1);
  expect_outputs(node, 1);
  const DType from = node.input(0).dtype, to = node.output().dtype;
  const Run run = choose(from, to);
  if (run == nullptr) {
    throw Error(ErrorCode::unsupported, std::string("cannot cast ") + dtype_name(from) + " to " +
                                            dtype_name(to) +
                                            "; only float32, int32 and int64 are cast (quantize "
                                            "and dequantize convert int8)");
  }
  const std::string named = node.attributes.get_string("to", dtype_name(to));
  if (named != dtype_name(to)) {
    throw Error(ErrorCode::invalid_model,
                "casts to '" + named + "', but the output is " + dtype_name(to));
  }
  return std::make_unique<Cast>(node, run);
}

}  // namespace zeropoint
