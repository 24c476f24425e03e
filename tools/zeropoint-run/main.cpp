// zeropoint-run: runs a model file on raw tensors, from the shell or a script.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <new>

#include "files.h"
#include "options.h"
#include "sha256.h"
#include "zeropoint.hpp"

namespace zeropoint_run {
namespace {

enum ExitCode { kSuccess = 0, kFailure = 1, kUsageError = 2, kIsaError = 3 };

constexpr int kLeastRuns = 5;
constexpr int kMostRuns = 100000;

struct Input {
  std::vector<unsigned char> bytes;
  zp::Shape shape;
};

std::string shape_text(const zp::Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + (shape[i] < 0 ? "?" : std::to_string(shape[i]));
  }
  return text + "]";
}

std::string describe(const zp::TensorInfo& info) {
  return std::string(zp_dtype_name(info.dtype)) + " " + shape_text(info.shape);
}

// A name from a file, on one line and without control bytes.
std::string printable(const std::string& name) {
  std::string text;
  for (const char c : name) text += static_cast<unsigned char>(c) < 32 || c == 127 ? '?' : c;
  return text;
}

std::string quoted(const std::string& name) { return "'" + printable(name) + "'"; }

size_t bytes_of(const zp::Shape& shape, zp_dtype dtype) {
  const zp_shape c = zp::to_c(shape);
  return zp_tensor_bytes(&c, dtype);
}

// The shapes that --shape gives, by input; empty where it gives none.
std::vector<zp::Shape> given_shapes(const Options& options, const zp::Session& session) {
  std::vector<zp::Shape> shapes(session.inputs().size());
  for (const auto& [name, shape] : options.shapes) {
    if (name.empty() && shapes.size() != 1) {
      throw UsageError("the model has " + std::to_string(shapes.size()) +
                       " inputs: --shape needs NAME=DIMS");
    }
    bool known = false;
    for (size_t i = 0; i < shapes.size(); ++i) {
      if (!name.empty() && session.inputs()[i].name != name) continue;
      known = true;
      shapes[i] = shape;
    }
    if (!known) {
      std::string names;
      for (const auto& info : session.inputs()) names += " " + quoted(info.name);
      throw UsageError("--shape: there is no input '" + name + "'; the inputs are" + names);
    }
  }
  return shapes;
}

// The shape in which a file of `bytes` bytes fits the input.
zp::Shape inferred_shape(const zp::TensorInfo& info, const std::string& file, size_t bytes) {
  zp::Shape shape = info.shape;
  const auto free_dimensions = std::count(shape.begin(), shape.end(), -1);
  if (free_dimensions == 0) return shape;
  const std::string what = "input " + quoted(info.name) + " is " + describe(info);
  if (free_dimensions > 1) {
    throw UsageError(what +
                     ": with more than one free dimension, its shape must be given: --shape " +
                     printable(info.name) + "=DIMS");
  }
  const auto free = std::find(shape.begin(), shape.end(), -1);
  *free = 1;
  const size_t step = bytes_of(shape, info.dtype);
  if (step == 0 || bytes == 0 || bytes % step != 0) {
    throw FileError(what + ", so its file must have a multiple of " + std::to_string(step) +
                    " bytes; '" + file + "' has " + std::to_string(bytes));
  }
  *free = static_cast<int64_t>(bytes / step);
  return shape;
}

std::vector<Input> read_inputs(const Options& options, const zp::Session& session) {
  const std::vector<zp::TensorInfo>& infos = session.inputs();
  if (options.inputs.size() != infos.size()) {
    std::string list;
    for (const auto& info : infos) list += "\n  " + printable(info.name) + ": " + describe(info);
    throw UsageError("the model has " + std::to_string(infos.size()) + " inputs, but " +
                     std::to_string(options.inputs.size()) +
                     " input files were given; its inputs are, in this order:" + list);
  }
  const std::vector<zp::Shape> given = given_shapes(options, session);
  std::vector<Input> inputs;
  for (size_t i = 0; i < infos.size(); ++i) {
    const std::string& file = options.inputs[i];
    Input input;
    input.bytes = read_file(file);
    input.shape = given[i].empty() ? inferred_shape(infos[i], file, input.bytes.size()) : given[i];
    const size_t expected = bytes_of(input.shape, infos[i].dtype);
    if (input.bytes.size() != expected) {
      throw FileError("input " + quoted(infos[i].name) + ": '" + file + "' has " +
                      std::to_string(input.bytes.size()) + " bytes; " +
                      zp_dtype_name(infos[i].dtype) + " " + shape_text(input.shape) + " takes " +
                      std::to_string(expected));
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

// Zeros, for timing without data.
std::vector<Input> zero_inputs(const Options& options, const zp::Session& session) {
  const std::vector<zp::Shape> given = given_shapes(options, session);
  std::vector<Input> inputs;
  for (size_t i = 0; i < given.size(); ++i) {
    Input input;
    input.shape = given[i].empty() ? session.inputs()[i].shape : given[i];
    std::replace(input.shape.begin(), input.shape.end(), int64_t{-1}, int64_t{1});
    input.bytes.resize(bytes_of(input.shape, session.inputs()[i].dtype));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

// A model's inputs and outputs as the session takes them.
struct Call {
  std::vector<zp_input> inputs;
  std::vector<zp::Shape> shapes;
  std::vector<zp::Tensor> tensors;
  std::vector<zp_output> outputs;

  Call(const zp::Session& session, const std::vector<Input>& given) {
    for (const Input& input : given) {
      inputs.push_back({input.bytes.data(), input.bytes.size()});
      shapes.push_back(input.shape);
    }
    const std::vector<zp::Shape> output_shapes = session.output_shapes(shapes);
    for (size_t i = 0; i < output_shapes.size(); ++i) {
      tensors.emplace_back(session.outputs()[i].dtype, output_shapes[i]);
    }
    for (zp::Tensor& tensor : tensors) outputs.push_back({tensor.data(), tensor.bytes()});
  }
};

void print_nodes(const zp::Session& session, const Call& call) {
  const auto or_dash = [](const std::string& text) { return text.empty() ? "-" : text; };
  for (const zp::Node& node : session.profile({}, call.shapes, 0).nodes) {
    std::printf("%s\t%s\t%s\t%s\t%s\t%lld\t%s\n", printable(node.name).c_str(),
                printable(node.op).c_str(), node.precision.c_str(), or_dash(node.kernel).c_str(),
                or_dash(node.isa).c_str(), static_cast<long long>(node.macs),
                shape_text(node.output).c_str());
  }
}

double run_seconds(const zp::Session& session, const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  session.run(call.inputs, call.shapes, call.outputs);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void bench(const Options& options, const zp::Session& session, const Call& call) {
  run_seconds(session, call);  // to warm up
  std::vector<double> times;
  double total = 0.0;
  const auto enough = [&] {
    const int runs = static_cast<int>(times.size());
    if (options.repeats > 0) return runs >= options.repeats;
    return runs >= kMostRuns || (runs >= kLeastRuns && total >= 1.0);
  };
  while (!enough()) {
    times.push_back(run_seconds(session, call));
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  const size_t n = times.size();
  const double median = n % 2 == 1 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
  std::printf("%s: ISA level %s, %d thread%s\n", options.model.c_str(), session.isa().c_str(),
              session.threads(), session.threads() == 1 ? "" : "s");
  for (size_t i = 0; i < call.shapes.size(); ++i) {
    std::printf("input %s: %s %s\n", printable(session.inputs()[i].name).c_str(),
                zp_dtype_name(session.inputs()[i].dtype), shape_text(call.shapes[i]).c_str());
  }
  std::printf("%zu runs: median %.4f ms, minimum %.4f ms\n\n", n, median * 1e3, times[0] * 1e3);

  const zp::Profile profile =
      session.profile(call.inputs, call.shapes, static_cast<int>(std::min<size_t>(n, 100)));
  double sum = 0.0;
  for (const zp::Node& node : profile.nodes) sum += node.seconds;
  std::printf("%10s %6s %9s  %-9s %-18s %-28s %s\n", "ms", "share", "GMAC/s", "precision",
              "operator", "kernel", "node");
  for (const zp::Node& node : profile.nodes) {
    const double rate = node.seconds > 0.0 ? static_cast<double>(node.macs) / node.seconds : 0.0;
    std::printf("%10.4f %5.1f%% %9.2f  %-9s %-18s %-28s %s\n", node.seconds * 1e3,
                sum > 0.0 ? 100.0 * node.seconds / sum : 0.0, rate * 1e-9, node.precision.c_str(),
                printable(node.op).c_str(), node.kernel.empty() ? "-" : node.kernel.c_str(),
                printable(node.name).c_str());
  }
}

void run(const Options& options) {
  const zp::Session session(options.model, options.session);
  if (const zp::CacheInfo cache = session.cache(); cache.state == "failed") {
    std::fprintf(stderr, "zeropoint-run: warning: packed weights are not kept: %s\n",
                 cache.problem.c_str());
  }
  const bool zeros = options.inputs.empty() && !session.inputs().empty();
  if (zeros && options.sha256) {
    throw UsageError("no input files were given (--input); only --bench and --nodes do without");
  }
  if (!options.outputs.empty() && options.outputs.size() != session.outputs().size()) {
    throw UsageError("the model has " + std::to_string(session.outputs().size()) +
                     " outputs, but " + std::to_string(options.outputs.size()) +
                     " output files were given");
  }
  const std::vector<Input> inputs =
      zeros ? zero_inputs(options, session) : read_inputs(options, session);
  Call call(session, inputs);
  if (options.sha256 || !options.outputs.empty()) {
    session.run(call.inputs, call.shapes, call.outputs);
  }
  for (size_t i = 0; i < options.outputs.size(); ++i) {
    write_file(options.outputs[i], call.tensors[i].data(), call.tensors[i].bytes());
  }
  for (size_t i = 0; options.sha256 && i < call.tensors.size(); ++i) {
    const zp::Tensor& tensor = call.tensors[i];
    std::printf("%s  %s\n", sha256(tensor.data(), tensor.bytes()).c_str(),
                printable(session.outputs()[i].name).c_str());
  }
  if (options.nodes) print_nodes(session, call);
  if (options.bench) bench(options, session, call);
}

void print_levels() {
  for (const zp::IsaLevel& level : zp::isa_levels()) {
    std::printf("%s\t%s\t%s\n", level.name.c_str(), level.detected ? "yes" : "no",
                level.features.c_str());
  }
}

ExitCode guarded_main(const std::vector<std::string>& arguments) {
  try {
    const Options options = parse_options(arguments);
    switch (options.action) {
      case Options::Action::help:
        std::printf("%s%s", kUsage, kHelp);
        break;
      case Options::Action::version:
        std::printf("zeropoint-run %s\n", zp_version());
        break;
      case Options::Action::levels:
        print_levels();
        break;
      case Options::Action::run:
        run(options);
        break;
    }
    if (std::fflush(stdout) != 0) throw FileError("cannot write to standard output");
    return kSuccess;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "zeropoint-run: %s\n%s", error.what(), kUsage);
    return kUsageError;
  } catch (const zp::Error& error) {
    std::fprintf(stderr, "zeropoint-run: %s\n", error.what());
    return error.status() == ZP_ISA ? kIsaError : kFailure;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "zeropoint-run: out of memory; use a smaller input or model\n");
    return kFailure;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "zeropoint-run: %s\n", error.what());
    return kFailure;
  }
}

}  // namespace
}  // namespace zeropoint_run

int main(int argc, char** argv) {
  return zeropoint_run::guarded_main({argv + std::min(argc, 1), argv + argc});
}
