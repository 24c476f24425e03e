// What this library was built from and with.
#pragma once

#include <string>
#include <vector>

namespace zeropoint {

struct BuildInfo {
  std::string version;
  std::string compiler;    // name and version
  std::string flags;       // of every file; ISA files have their own in addition
  std::string build_type;  // "Release", ...
  std::vector<std::string> isa_levels;
};

BuildInfo build_info();

}  // namespace zeropoint
