#include "runtime/model_reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "runtime/gguf_builder.h"
#include "runtime/session.h"
#include "support.h"

namespace zeropoint {
namespace {

using namespace test;  // NOLINT: the builder's short names

Model read(const std::string& bytes) {
  MemoryBlock block;
  block.data = reinterpret_cast<const unsigned char*>(bytes.data());
  block.size = bytes.size();
  return read_model(block, "test.gguf");
}

// Loads, and where that succeeds makes a session and runs it on ones: whatever the bytes say, this
// returns or throws Error. Returns the error's message, "" without one.
std::string load_and_run(const std::string& original) {
  // An exact copy on the heap: the address sanitizer sees every read past its end.
  const std::unique_ptr<unsigned char[]> copy(new unsigned char[original.size() + 1]);
  std::memcpy(copy.get(), original.data(), original.size());
  MemoryBlock block;
  block.data = copy.get();
  block.size = original.size();
  try {
    const Session session(read_model(block, "test.gguf"), 1, Isa::portable);
    std::vector<Shape> shapes;
    std::vector<AlignedBuffer> buffers;
    std::vector<const void*> inputs;
    for (const ValueInfo* input : session.model().inputs) {
      Shape shape = input->shape;
      int64_t elements = 1;
      for (int d = 0; d < shape.rank(); ++d) {
        if (shape[d] < 0) shape[d] = 2;
        if (shape[d] > 1 << 7) return "";  // valid, and too slow for a test
        elements *= shape[d];
      }
      if (elements > 1 << 20) return "";
      buffers.emplace_back(static_cast<size_t>(shape.elements() * dtype_size(input->dtype)));
      std::memset(buffers.back().data(), 1, buffers.back().size());
      shapes.push_back(shape);
      inputs.push_back(buffers.back().data());
    }
    const auto plan = session.plan(shapes);
    if (plan->arena_bytes() > 1 << 24) return "";
    std::vector<void*> outputs;
    for (size_t i = 0; i < session.model().outputs.size(); ++i) {
      buffers.emplace_back(static_cast<size_t>(session.output_bytes(*plan, i)));
      outputs.push_back(buffers.back().data());
    }
    session.run(*plan, inputs, outputs);
  } catch (const Error& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(message.find("test.gguf") == 0);
    return error.what();
  }
  return "";
}

TEST_CASE("model reader: a small model, value by value") {
  const std::string bytes = small_model().bytes();
  const Model model = read(bytes);
  CHECK(model.name == "test");
  CHECK(model.producer == "tests");
  CHECK(model.file_bytes == static_cast<int64_t>(bytes.size()));
  REQUIRE(model.values.size() == 6);
  REQUIRE(model.nodes.size() == 3);
  CHECK(model.inputs == std::vector<const ValueInfo*>{&model.values[0]});
  CHECK(model.outputs == std::vector<const ValueInfo*>{&model.values[3]});
  CHECK(model.values[0].shape == Shape{-1, 4});
  CHECK(model.values[1].quantized);
  CHECK(model.values[1].quant.scale == 0.05f);
  CHECK(model.values[1].quant.zero_point == 3 + kActOffset);
  const ValueInfo& w = model.values[4];
  REQUIRE(w.is_constant());
  CHECK_FALSE(w.quantized);
  CHECK(w.constant->axis == 0);
  CHECK(w.constant->scales == std::vector<float>{0.02f, 0.03f, 0.04f});
  CHECK(w.constant->zero_points == std::vector<int32_t>{0, 0, 0});
  CHECK(w.constant->as<int8_t>()[10] == -127);
  CHECK(model.values[5].constant->as<int32_t>()[2] == 300);
  CHECK(model.nodes[1].op == "linear");
  CHECK(model.nodes[1].inputs[1] == &w);
  CHECK(load_and_run(bytes).empty());
}

TEST_CASE("model reader: what other writers may do is accepted") {
  ModelBuilder m = small_model();
  m.file.alignment = 32;
  GgufBuilder b = m.build();
  // Keys in another order, unknown ones, other integer widths, double scales.
  std::reverse(b.keys.begin(), b.keys.end());
  b.set("general.description", text("unknown"));
  b.set("other.nested", raw<uint32_t>(kArray) + raw<uint32_t>(kArray) + raw<uint64_t>(1) +
                            raw<uint32_t>(kI32) + raw<uint64_t>(2) + raw<int64_t>(0));
  b.set("zeropoint.value.rank", array<int32_t>(kI32, {2, 2, 2, 2, 2, 1}));
  b.set("zeropoint.value.dims", array<int32_t>(kI32, {-1, 4, -1, 4, -1, 3, -1, 3, 3, 4, 3}));
  b.set("zeropoint.value.scale", array<double>(kF64, {0, 0.05, 0.1, 0, 0, 0}));
  b.set("zeropoint.node.count", scalar<int64_t>(kI64, 3));
  b.tensors.push_back({"unused", {7}, 12, ""});  // a type that cannot be read, and is not
  CHECK(load_and_run(b.bytes()).empty());
}

TEST_CASE("model reader: a file cut anywhere is an error") {
  const std::string bytes = small_model().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    INFO("size " << size);
    CHECK_FALSE(load_and_run(bytes.substr(0, size)).empty());
  }
}

TEST_CASE("model reader: a flipped bit is an error or a model, never a crash") {
  const std::string bytes = small_model().bytes();
  int errors = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string altered = bytes;
      altered[i] = static_cast<char>(altered[i] ^ (1 << bit));
      errors += !load_and_run(altered).empty();
    }
  }
  CHECK(errors > 1000);
}

TEST_CASE("model reader: random damage is an error or a model, never a crash") {
  INFO(seed_note());
  auto g = generator("random damage");
  const std::string bytes = small_model().bytes();
  for (int repeat = 0; repeat < 3000; ++repeat) {
    std::string altered = bytes;
    for (int64_t n = uniform(g, 1, 3); n > 0; --n) {
      const auto at = static_cast<size_t>(uniform(g, 0, static_cast<int64_t>(bytes.size()) - 8));
      static constexpr uint64_t kNasty[] = {
          0, 1, 255, 0x7fffffff, 0xffffffff, 1ull << 40, 0x7fffffffffffffff, ~0ull};
      const auto width = static_cast<size_t>(1) << uniform(g, 0, 3);
      const uint64_t value = uniform(g, 0, 1) ? kNasty[uniform(g, 0, 7)] : g();
      std::memcpy(&altered[at], &value, width);
    }
    load_and_run(altered);
  }
}

// Models whose container is sound and whose graph is nonsense: any operator on any values with any
// attributes. What the operators do not refuse must run within its buffers.
TEST_CASE("model reader: nonsense graphs are errors or run within their buffers") {
  INFO(seed_note());
  auto g = generator("nonsense graphs");
  const auto pick = [&](const auto& items) {
    return items[static_cast<size_t>(uniform(g, 0, static_cast<int64_t>(items.size()) - 1))];
  };
  const std::vector<std::string> dtypes = {"float32", "int8", "float32", "int8", "int32", "int64"};
  const std::vector<int64_t> dims = {1, 2, 3, 4, 5, 8, -1};
  const std::vector<std::string> keys = {
      "strides", "pads",  "dilations", "groups", "axis",  "axes",    "kernel", "shape",
      "perm",    "sizes", "scales",    "starts", "ends",  "steps",   "alpha",  "mode",
      "min",     "max",   "qmin",      "qmax",   "value", "keepdims"};
  const std::vector<int64_t> ints = {-(int64_t{1} << 62), -129, -2, -1, 0, 1, 2, 3, 127, 1 << 30};
  int ran = 0;
  for (int repeat = 0; repeat < 4000; ++repeat) {
    ModelBuilder m;
    m.inputs = {"a", "b"};
    m.outputs = {"y"};
    const auto random_dims = [&](int64_t rank, bool free) {
      std::vector<int64_t> shape;
      while (static_cast<int64_t>(shape.size()) < rank) {
        const int64_t d = pick(dims);
        if (d > 0 || free) shape.push_back(d);
      }
      return shape;
    };
    for (const char* name : {"a", "b", "y", "z"}) {
      const std::string dtype = pick(dtypes);
      m.value(name, dtype, random_dims(uniform(g, 0, 4), true), dtype == "int8" ? 0.1f : 0.0f,
              static_cast<int32_t>(uniform(g, -128, 127)));
    }
    for (const char* name : {"c", "d"}) {
      const std::vector<int64_t> shape = random_dims(uniform(g, 0, 4), false);
      int64_t n = 1;
      for (const int64_t d : shape) n *= d;
      if (uniform(g, 0, 2) == 0) {
        m.constant<float>(name, "float32", kTensorF32, shape, std::vector<float>(n, 0.5f));
      } else if (uniform(g, 0, 1) == 0) {
        m.constant<int32_t>(name, "int32", kTensorI32, shape, std::vector<int32_t>(n, 7));
      } else {
        m.constant<int8_t>(name, "int8", kTensorI8, shape, std::vector<int8_t>(n, -3));
        m.values.back().scale = 0.02f;
      }
    }
    const std::vector<std::string> readable = {"a", "b", "c", "d", "a", "a"};
    std::vector<std::string> in;
    for (int64_t n = uniform(g, 0, 3); n >= 0; --n) in.push_back(pick(readable));
    std::vector<std::string> out = {"y"};
    if (uniform(g, 0, 5) == 0) out.push_back("z");
    const std::string attributes = m.node(pick(op_entries()).name, in, out);
    for (int64_t n = uniform(g, 0, 5); n > 0; --n) {
      const std::string key = attributes + pick(keys);
      if (uniform(g, 0, 3) == 0) {
        m.file.set(
            key, uniform(g, 0, 1) ? scalar<int64_t>(kI64, pick(ints)) : scalar<double>(kF64, 0.5));
      } else {
        std::vector<int64_t> list;
        for (int64_t k = uniform(g, 1, 4); k > 0; --k) {
          list.push_back(uniform(g, 0, 3) ? uniform(g, 0, 3) : pick(ints));
        }
        m.file.set(key, array<int64_t>(kI64, list));
      }
    }
    ran += load_and_run(m.bytes()).empty();
  }
  CHECK(ran > 40);
}

// Each case breaks one thing in a valid model; the message must name it.
struct Broken {
  const char* what;
  std::function<void(GgufBuilder&)> damage;
  const char* message;
};

const std::vector<Broken>& broken_files() {
  const auto set = [](const char* key, const std::string& value) {
    return [=](GgufBuilder& b) { b.set(key, value); };
  };
  static const std::vector<Broken> cases = {
      {"version 2", [](GgufBuilder& b) { b.version = 2; }, "container version 2"},
      {"big-endian", [](GgufBuilder& b) { b.version = 3u << 24; }, "big-endian"},
      {"architecture", set("general.architecture", text("llama")), "'llama'"},
      {"newer format", set("zeropoint.format_version", scalar<uint32_t>(kU32, 2)), "upgrade"},
      {"format 0", set("zeropoint.format_version", scalar<uint32_t>(kU32, 0)), "version 0"},
      {"alignment", set("general.alignment", scalar<uint32_t>(kU32, 48)), "alignment"},
      {"alignment 0", set("general.alignment", scalar<uint32_t>(kU32, 0)), "alignment"},
      {"no names", [](GgufBuilder& b) { b.remove("zeropoint.value.name"); },
       "'zeropoint.value.name' is missing"},
      {"key twice", [](GgufBuilder& b) { b.keys.push_back(b.keys[0]); }, "appears twice"},
      {"tensor twice", [](GgufBuilder& b) { b.tensors.push_back(b.tensors[0]); }, "appears twice"},
      {"a type", set("zeropoint.value.name", scalar<uint32_t>(kU32, 2)), "array of strings"},
      {"string for an array", set("zeropoint.inputs", text("x")), "array of strings"},
      {"unknown type", set("general.name", scalar<uint32_t>(77, 2)), "unknown type 77"},
      {"deep nesting",
       [](GgufBuilder& b) {
         std::string nested = raw<uint32_t>(kArray);
         for (int i = 0; i < 100000; ++i) nested += raw<uint32_t>(kArray) + raw<uint64_t>(1);
         b.set("x", nested + raw<uint32_t>(kI32) + raw<uint64_t>(0));
       },
       "nests arrays"},
      {"huge array", set("zeropoint.value.rank",
                         raw<uint32_t>(kArray) + raw<uint32_t>(kU32) + raw<uint64_t>(1ull << 61)),
       "more than"},
      {"huge string", set("general.name", raw<uint32_t>(kString) + raw<uint64_t>(~0ull)), "left"},
      {"not UTF-8", set("general.name", text("\xff\xfe")), "UTF-8"},
      {"overlong UTF-8", set("general.name", text("\xc0\x80")), "UTF-8"},
      {"dtype", set("zeropoint.value.dtype",
                    texts({"float32", "int4", "int8", "float32", "int8", "int32"})),
       "unknown dtype 'int4'"},
      {"lengths", set("zeropoint.value.axis", array<int32_t>(kI32, {-1})), "1 entries for 6"},
      {"rank 9", set("zeropoint.value.rank", array<uint32_t>(kU32, {2, 2, 9, 2, 2, 1})), "rank 9"},
      {"too few dims", set("zeropoint.value.dims", array<int64_t>(kI64, {-1, 4})), "ends before"},
      {"too many dims",
       set("zeropoint.value.dims",
           array<int64_t>(kI64, {-1, 4, -1, 4, -1, 3, -1, 3, 3, 4, 3, 1})),
       "more entries"},
      {"dimension 0",
       set("zeropoint.value.dims", array<int64_t>(kI64, {0, 4, -1, 4, -1, 3, -1, 3, 3, 4, 3})),
       "dimension 0"},
      {"free constant",
       set("zeropoint.value.dims", array<int64_t>(kI64, {-1, 4, -1, 4, -1, 3, -1, 3, -1, 4, 3})),
       "free dimension"},
      {"constant's size",
       set("zeropoint.value.dims", array<int64_t>(kI64, {-1, 4, -1, 4, -1, 3, -1, 3, 3, 5, 3})),
       "12 elements, not 15"},
      {"overflowing constant",
       set("zeropoint.value.dims",
           array<int64_t>(kI64, {-1, 4, -1, 4, -1, 3, -1, 3, 1ll << 39, 1ll << 39, 3})),
       "too large"},
      {"scale 0", set("zeropoint.value.scale", array<float>(kF32, {0, 0, 0.1f, 0, 0, 0})),
       "no scale"},
      {"scale < 0", set("zeropoint.value.scale", array<float>(kF32, {0, -1, 0.1f, 0, 0, 0})),
       "positive"},
      {"scale denormal",
       set("zeropoint.value.scale", array<float>(kF32, {0, 1e-40f, 0.1f, 0, 0, 0})), "denormal"},
      {"scale infinite",
       set("zeropoint.value.scale", array<float>(kF32, {0, HUGE_VALF, 0.1f, 0, 0, 0})), "finite"},
      {"scale NaN", set("zeropoint.value.scale", array<float>(kF32, {0, NAN, 0.1f, 0, 0, 0})),
       "finite"},
      {"scale too large for float32",
       set("zeropoint.value.scale", array<double>(kF64, {0, 1e300, 0.1, 0, 0, 0})), "finite"},
      {"scale on float32",
       set("zeropoint.value.scale", array<float>(kF32, {1, 1, 0.1f, 0, 0, 0})), "only int8"},
      {"zero point", set("zeropoint.value.zero_point", array<int32_t>(kI32, {0, 200, 0, 0, 0, 0})),
       "-128 to 127"},
      {"axis of an activation",
       set("zeropoint.value.axis", array<int32_t>(kI32, {0, -1, -1, -1, 0, -1})), "only constants"},
      {"axis out of range",
       set("zeropoint.value.axis", array<int32_t>(kI32, {-1, -1, -1, -1, 2, -1})), "axis 2"},
      {"no channel scales", [](GgufBuilder& b) { b.tensors[1].name = "other"; },
       "'w.scale' is missing"},
      {"channel scales", [](GgufBuilder& b) { b.tensors[1].data.replace(0, 4, raw(0.0f)); },
       "scale of 'w.scale'"},
      {"tensor type", [](GgufBuilder& b) { b.tensors[0].type = kTensorI32; }, "GGUF type 26"},
      {"tensor rank", [](GgufBuilder& b) { b.tensors[0].dims.assign(9, 1); }, "9 dimensions"},
      {"tensor overflow", [](GgufBuilder& b) { b.tensors[0].dims = {1ull << 40, 1ull << 40}; },
       "too large"},
      {"unknown input", set("zeropoint.inputs", texts({"nobody"})), "'nobody', which is unknown"},
      {"constant input", set("zeropoint.inputs", texts({"x", "w"})), "is a constant"},
      {"input twice", set("zeropoint.inputs", texts({"x", "x"})), "listed twice"},
      {"written input", set("zeropoint.inputs", texts({"x", "h"})), "written already"},
      {"no outputs", set("zeropoint.outputs", texts({})), "no graph outputs"},
      {"output twice", set("zeropoint.outputs", texts({"y", "y"})), "listed twice"},
      {"output of nobody",
       [](GgufBuilder& b) {
         b.set("zeropoint.node.count", scalar<uint32_t>(kU32, 2));
       },
       "written by no node"},
      {"too many nodes", set("zeropoint.node.count", scalar<uint32_t>(kU32, 0xffffffff)), "nodes"},
      {"node count beyond the keys", set("zeropoint.node.count", scalar<uint32_t>(kU32, 60000)),
       "more than the file has keys"},
      {"node missing", set("zeropoint.node.count", scalar<uint32_t>(kU32, 4)),
       "'zeropoint.node.3.name' is missing"},
      {"order", set("zeropoint.node.0.inputs", texts({"h"})), "no earlier node"},
      {"unknown value", set("zeropoint.node.0.inputs", texts({"q"})), "'q', which is unknown"},
      {"written twice", set("zeropoint.node.1.outputs", texts({"xq"})), "written already"},
      {"writes a constant", set("zeropoint.node.1.outputs", texts({"w"})), "written already"},
      {"empty output", set("zeropoint.node.1.outputs", texts({""})), "'', which is unknown"},
      {"no node outputs", set("zeropoint.node.1.outputs", texts({})), "has no outputs"},
      {"attribute of strings", set("zeropoint.node.1.attr.a", texts({"b"})), "attribute"},
      {"operators", [](GgufBuilder& b) {
         b.set("zeropoint.node.0.op", text("frobnicate"));
         b.set("zeropoint.node.2.op", text("defrobnicate"));
       }, "node 'dequantize2' (defrobnicate)"},
  };
  return cases;
}

TEST_CASE("model reader: each broken part is named") {
  for (const Broken& broken : broken_files()) {
    INFO(broken.what);
    GgufBuilder b = small_model().build();
    broken.damage(b);
    const std::string message = load_and_run(b.bytes());
    INFO(message);
    CHECK(message.find(broken.message) != std::string::npos);
  }
}

TEST_CASE("model reader: tensors that overlap cannot be many times the file") {
  ModelBuilder m = small_model();
  for (int i = 0; i < 3; ++i) {
    m.constant<int8_t>("c" + std::to_string(i), "int8", kTensorI8, {10000},
                       std::vector<int8_t>(i == 0 ? 10000 : 0));
  }
  GgufBuilder b = m.build();
  for (size_t i = b.tensors.size() - 3; i < b.tensors.size(); ++i) b.tensors[i].offset = 0;
  CHECK(load_and_run(b.bytes()).find("the tensors overlap") != std::string::npos);
}

TEST_CASE("model reader: all unknown operators come in one error") {
  GgufBuilder b = small_model().build();
  b.set("zeropoint.node.0.op", text("frobnicate"));
  b.set("zeropoint.node.2.op", text("defrobnicate"));
  const std::string bytes = b.bytes();
  try {
    const Session session(read(bytes), 1, Isa::portable);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::unsupported);
    const std::string message = error.what();
    CHECK(message.find("cannot run 2 nodes") != std::string::npos);
    CHECK(message.find("node 'quantize0' (frobnicate)") != std::string::npos);
    CHECK(message.find("node 'dequantize2' (defrobnicate)") != std::string::npos);
  }
}

TEST_CASE("model reader: files, and what is not a file") {
  char folder[] = "/tmp/zeropoint_test_XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/model.gguf";
  const auto code_of = [](const std::string& p) {
    try {
      read_model_file(p);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(p) == 0);
      return static_cast<int>(error.code());
    }
    return -1;
  };
  CHECK(code_of(path) == static_cast<int>(ErrorCode::io));
  CHECK(code_of(folder) == static_cast<int>(ErrorCode::io));
  REQUIRE(mkfifo((path + ".pipe").c_str(), 0600) == 0);
  CHECK(code_of(path + ".pipe") == static_cast<int>(ErrorCode::io));

  // A file that fills its last page: reads behind a constant at its end stay in mapped memory.
  ModelBuilder m = small_model();
  std::string bytes = m.bytes();
  const size_t page = 4096;
  const size_t padding = (page - bytes.size() % page) % page;
  for (const std::string& content : {std::string(), bytes, bytes + std::string(padding, '\0')}) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    std::fwrite(content.data(), 1, content.size(), file);
    std::fclose(file);
    if (content.empty()) {
      CHECK(code_of(path) == static_cast<int>(ErrorCode::invalid_model));
      continue;
    }
    const Model model = read_model_file(path);
    const auto* bias = static_cast<const unsigned char*>(model.values[5].constant->data);
    unsigned sum = 0;
    for (size_t i = 0; i < 12 + kOverreadBytes; ++i) sum += bias[i];
    CHECK(sum > 0);
  }
  std::remove(path.c_str());
  std::remove((path + ".pipe").c_str());
  rmdir(folder);
}

}  // namespace
}  // namespace zeropoint
