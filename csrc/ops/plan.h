// Plans from lambdas, and how much work a thread should get.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "ops/op.h"

namespace zeropoint {

// A plan that does what `run(inputs, outputs, context)` does.
template <typename Run>
class LambdaPlan final : public Plan {
 public:
  explicit LambdaPlan(Run run) : run_(std::move(run)) {}
  void run(const void* const* inputs, void* const* outputs, RunContext& context) const override {
    run_(inputs, outputs, context);
  }

 private:
  Run run_;
};

template <typename Run>
std::unique_ptr<Plan> make_plan(Run run, size_t scratch_bytes = 0) {
  auto plan = std::make_unique<LambdaPlan<Run>>(std::move(run));
  plan->scratch_bytes = scratch_bytes;
  return plan;
}

// The same, naming the kernel that was chosen.
template <typename Kernel, typename Run>
std::unique_ptr<Plan> make_kernel_plan(const Kernel& kernel, Run run, size_t scratch_bytes = 0) {
  std::unique_ptr<Plan> plan = make_plan(std::move(run), scratch_bytes);
  plan->kernel = kernel.name;
  plan->isa = kernel.isa;
  return plan;
}

// For outputs without elements.
inline std::unique_ptr<Plan> make_empty_plan() {
  return make_plan([](const void* const*, void* const*, RunContext&) {});
}

// How many items make a part of at least about 3 us: handing one to a thread costs up to 1 us.
inline int64_t grain_for(double nanoseconds_per_item) {
  constexpr double kPart = 3000.0;
  return nanoseconds_per_item >= kPart ? 1 : static_cast<int64_t>(kPart / nanoseconds_per_item) + 1;
}

}  // namespace zeropoint
