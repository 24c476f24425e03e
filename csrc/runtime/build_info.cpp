#include "runtime/build_info.h"

#include "cpu/isa.h"

// The build system defines these; a build by hand still gets an honest answer.
#ifndef ZEROPOINT_VERSION
#define ZEROPOINT_VERSION "unknown"
#endif
#ifndef ZEROPOINT_BUILD_TYPE
#define ZEROPOINT_BUILD_TYPE "unknown"
#endif
#ifndef ZEROPOINT_CXX_FLAGS
#define ZEROPOINT_CXX_FLAGS "unknown"
#endif

namespace zeropoint {

BuildInfo build_info() {
  BuildInfo info;
  info.version = ZEROPOINT_VERSION;
#if defined(__clang__)
  info.compiler = __VERSION__;  // begins with "Clang"
#else
  info.compiler = "GCC " __VERSION__;
#endif
  info.flags = ZEROPOINT_CXX_FLAGS;
  info.build_type = ZEROPOINT_BUILD_TYPE;
  for (const IsaLevel& level : isa_levels()) info.isa_levels.emplace_back(level.name);
  return info;
}

}  // namespace zeropoint
