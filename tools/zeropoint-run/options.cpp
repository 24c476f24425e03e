#include "options.h"

#include <charconv>
#include <cstdint>

namespace zeropoint_run {

const char* const kUsage =
    "usage: zeropoint-run MODEL.gguf --input FILE... [--output FILE...] [--sha256] [--nodes]\n"
    "                     [--bench] [--repeats N] [--shape [NAME=]DIMS]... [--io DTYPE]\n"
    "                     [--isa LEVEL] [--threads N] [--cache PATH]\n"
    "       zeropoint-run --levels | --version | --help\n";

const char* const kHelp =
    "\n"
    "Runs a model file once. Tensors are files of raw little-endian bytes, dense and row-major\n"
    "(images channels-last), one for each input and output, in the model's order.\n"
    "\n"
    "  --input FILE...    the inputs\n"
    "  --output FILE...   where to write the outputs\n"
    "  --sha256           print one line per output: the SHA-256 of its bytes, and its name\n"
    "  --nodes            print one line per node, tab-separated: name, operator, precision,\n"
    "                     kernel, ISA level of the kernel, multiply-accumulates, output shape\n"
    "                     (- where there is none)\n"
    "  --bench            time whole runs (median and minimum) and each node (median); without\n"
    "                     --input, on zeros, free dimensions being 1\n"
    "  --repeats N        runs that --bench times; default: as many as fit a second, at least 5\n"
    "  --shape DIMS       the shape of an input, such as 1x224x224x3; with several inputs,\n"
    "                     NAME=DIMS for each that needs one. One free dimension follows from the\n"
    "                     size of the file; with more, this option is needed\n"
    "  --io DTYPE         quantized inputs and outputs are as_file (default), float32, int8 or\n"
    "                     uint8 in the files\n"
    "  --isa LEVEL        the highest ISA level to use; default: the environment variable\n"
    "                     ZEROPOINT_ISA, or the best level of this CPU\n"
    "  --threads N        into how many parts work is split (default 1)\n"
    "  --cache PATH       keep packed weights in this file or folder for the next start\n"
    "  --levels           list the ISA levels built in and whether this CPU has them\n"
    "\n"
    "Where neither --output, --sha256, --nodes nor --bench is given, --sha256 is taken to be.\n"
    "\n"
    "Exit codes: 0 success; 1 the model, an input or an output file is at fault, or memory ran\n"
    "out; 2 the command line is wrong; 3 the ISA level is unknown, or this CPU lacks it.\n";

namespace {

int64_t parse_number(const std::string& text, const std::string& option, int64_t lo, int64_t hi) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end || value < lo || value > hi) {
    throw UsageError(option + " takes a whole number from " + std::to_string(lo) + " to " +
                     std::to_string(hi) + ", not '" + text + "'");
  }
  return value;
}

// "NAME=1x2x3" or "1x2x3".
std::pair<std::string, zp::Shape> parse_shape(const std::string& text) {
  const size_t equals = text.rfind('=');  // a name may have one
  std::pair<std::string, zp::Shape> result;
  if (equals != std::string::npos) {
    result.first = text.substr(0, equals);
    if (result.first.empty()) throw UsageError("--shape '" + text + "' has an empty name");
  }
  const std::string dims = equals == std::string::npos ? text : text.substr(equals + 1);
  for (size_t at = 0;;) {
    const size_t x = dims.find('x', at);
    const std::string number = dims.substr(at, x == std::string::npos ? x : x - at);
    result.second.push_back(
        parse_number(number, "--shape (as in 1x224x224x3): a dimension", 1, int64_t{1} << 40));
    if (x == std::string::npos) break;
    at = x + 1;
  }
  if (result.second.size() > ZP_MAX_RANK) {
    throw UsageError("--shape '" + text + "' has more than 8 dimensions");
  }
  return result;
}

bool is_option(const std::string& text) { return text.size() > 1 && text[0] == '-'; }

// The arguments, one after the other.
class Reader {
 public:
  explicit Reader(const std::vector<std::string>& arguments) : arguments_(arguments) {}

  bool more() const { return at_ < arguments_.size(); }
  const std::string& next() { return arguments_[at_++]; }

  const std::string& value(const std::string& option) {
    if (!more()) throw UsageError(option + " needs a value");
    return next();
  }
  // At least one, up to the next option.
  void files(const std::string& option, std::vector<std::string>& to) {
    const size_t before = to.size();
    while (more() && !is_option(arguments_[at_])) to.push_back(next());
    if (to.size() == before) throw UsageError(option + " needs at least one file");
  }

 private:
  const std::vector<std::string>& arguments_;
  size_t at_ = 0;
};

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  Reader reader(arguments);
  while (reader.more()) {
    const std::string argument = reader.next();
    if (argument == "--help" || argument == "-h") {
      options.action = Options::Action::help;
      return options;
    }
    if (argument == "--version") {
      options.action = Options::Action::version;
      return options;
    }
    if (argument == "--levels") {
      options.action = Options::Action::levels;
      return options;
    }
    if (argument == "--input") {
      reader.files(argument, options.inputs);
    } else if (argument == "--output") {
      reader.files(argument, options.outputs);
    } else if (argument == "--shape") {
      options.shapes.push_back(parse_shape(reader.value(argument)));
    } else if (argument == "--sha256") {
      options.sha256 = true;
    } else if (argument == "--nodes") {
      options.nodes = true;
    } else if (argument == "--bench") {
      options.bench = true;
    } else if (argument == "--repeats") {
      options.repeats =
          static_cast<int>(parse_number(reader.value(argument), argument, 1, 1000000));
    } else if (argument == "--isa") {
      options.session.isa = reader.value(argument);
      if (options.session.isa.empty()) throw UsageError("--isa needs the name of an ISA level");
    } else if (argument == "--threads") {
      options.session.threads =
          static_cast<int>(parse_number(reader.value(argument), argument, 1, 1024));
    } else if (argument == "--io") {
      options.session.io = reader.value(argument);
    } else if (argument == "--cache") {
      options.session.cache = reader.value(argument);
    } else if (is_option(argument)) {
      throw UsageError("unknown option '" + argument + "'");
    } else if (options.model.empty()) {
      options.model = argument;
    } else {
      throw UsageError("'" + argument + "' is one argument too many: the model is '" +
                       options.model + "'; input files follow --input");
    }
  }
  if (options.model.empty()) throw UsageError("no model file was given");
  if (options.inputs.empty() && !options.outputs.empty()) {
    throw UsageError("--output needs --input");
  }
  if (options.repeats > 0 && !options.bench) throw UsageError("--repeats needs --bench");
  if (options.outputs.empty() && !options.nodes && !options.bench) options.sha256 = true;
  return options;
}

}  // namespace zeropoint_run
