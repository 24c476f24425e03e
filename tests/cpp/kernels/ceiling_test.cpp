// The ceilings: each level has an integer and a float one, and they measure something sensible.
#include "kernels/ceiling/ceiling.h"

#include "support.h"

namespace zeropoint {
namespace {

TEST_CASE("ceiling: the work reported is proportional to the iterations") {
  std::set<Isa> exercised;
  for (const ceiling::Kernel& kernel : ceiling::kernels()) {
    if (!test::runs_here(kernel.isa)) continue;
    INFO(kernel.name);
    const int64_t macs = kernel.run(1);
    CHECK(macs > 0);
    CHECK(kernel.run(1000) == 1000 * macs);
    exercised.insert(kernel.isa);
  }
  test::require_all_levels("ceiling", exercised, {});
}

TEST_CASE("ceiling: selection gives the level's own instruction, and it can be measured") {
  for (const IsaLevel& level : isa_levels()) {
    for (bool integer : {true, false}) {
      const ceiling::Kernel& kernel = ceiling::select(integer, isa_mask(level.isa));
      INFO("cap " << level.name << " chose " << kernel.name);
      CHECK(kernel.integer == integer);
      // Levels that only add integer dot products have the float instruction of the level below.
      const bool own = integer || test::dot_product_levels().count(level.isa) == 0;
      CHECK((kernel.isa == level.isa) == own);
      if (!test::runs_here(level.isa)) continue;
      const double speed = ceiling::measure(kernel);
      CHECK(speed > 1e6);
      CHECK(speed < 1e14);
    }
  }
}

}  // namespace
}  // namespace zeropoint
