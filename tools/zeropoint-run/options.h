// The command line.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "zeropoint.hpp"

namespace zeropoint_run {

// A command line that makes no sense: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  enum class Action { run, help, version, levels };
  Action action = Action::run;

  std::string model;
  std::vector<std::string> inputs;   // files
  std::vector<std::string> outputs;  // files
  // Input name ("" where there is one input) and its shape.
  std::vector<std::pair<std::string, zp::Shape>> shapes;
  zp::Options session;
  bool sha256 = false;
  bool nodes = false;
  bool bench = false;
  int repeats = 0;  // 0: as many as fit a second
};

Options parse_options(const std::vector<std::string>& arguments);

extern const char* const kUsage;
extern const char* const kHelp;

}  // namespace zeropoint_run
