#include "runtime/packed_cache.h"

#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "base/checksum.h"
#include "runtime/gguf_builder.h"
#include "runtime/mapped_file.h"
#include "runtime/model_reader.h"
#include "runtime/session.h"
#include "support.h"

namespace zeropoint {
namespace {

using namespace test;  // NOLINT: the builder's short names
namespace fs = std::filesystem;
using State = CacheReport::State;

// A folder with the small model in a file.
struct Folder {
  fs::path path, model, cache;

  Folder() {
    std::string name = (fs::temp_directory_path() / "zeropoint-cache-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
    model = path / "small.gguf";
    cache = path / "small.packed";
    write(model, small_model().bytes());
  }
  ~Folder() { fs::remove_all(path); }

  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  static std::string read(const fs::path& path) {
    std::ostringstream bytes;
    bytes << std::ifstream(path, std::ios::binary).rdbuf();
    return bytes.str();
  }
};

struct Result {
  State state;
  std::vector<float> y;
};

Result run(const Folder& folder, const fs::path& cache, Isa isa = resolve_isa("")) {
  const Session session(read_model_file(folder.model.string(), Checksum::later), 1, isa, {}, true,
                        cache.string());
  const std::vector<float> x = {1.0f, -1.0f, 0.5f, 2.0f, 0.25f, 7.0f, -3.5f, 0.0f};
  const auto plan = session.plan({{2, 4}});
  Result result{session.cache().state, std::vector<float>(6)};
  session.run(*plan, {x.data()}, {result.y.data()});
  CHECK((session.cache().problem.empty() || result.state == State::failed));
  return result;
}

// The head's place in a cache file, and its checksum made to fit again.
constexpr size_t kPreamble = 32;
size_t head_bytes(const std::string& file) {
  uint64_t bytes = 0;
  std::memcpy(&bytes, file.data() + 16, sizeof bytes);
  return static_cast<size_t>(bytes);
}
void mend_checksum(std::string& file, size_t head) {
  const uint64_t sum = weighted_words(
      reinterpret_cast<const unsigned char*>(file.data()) + kPreamble, head - kPreamble);
  std::memcpy(&file[24], &sum, sizeof sum);
}

TEST_CASE("packed cache: written, reused, and the same results on every level") {
  const Folder folder;
  const std::vector<float> expected = run(folder, "").y;
  CHECK(run(folder, "").state == State::off);
  std::set<Isa> exercised;
  for (const Isa isa : detected_isa_levels()) {
    const Result first = run(folder, folder.cache, isa), second = run(folder, folder.cache, isa);
    CHECK(first.state == State::written);  // each level anew: it is one file
    CHECK(second.state == State::reused);
    CHECK(first.y == expected);
    CHECK(second.y == expected);
    exercised.insert(isa);
  }
  CHECK(exercised.size() == detected_isa_levels().size());
  CHECK(run(folder, folder.path).state == State::written);  // a folder
  CHECK(run(folder, folder.path.string() + "/").state == State::reused);
}

TEST_CASE("packed cache: every bit that matters, and every length") {
  const Folder folder;
  const std::vector<float> expected = run(folder, folder.cache).y;
  const std::string file = Folder::read(folder.cache);
  size_t kept = 0;
  for (size_t at = 8; at < file.size(); at += at < head_bytes(file) ? 1 : 3) {
    std::string altered = file;
    altered[at] = static_cast<char>(altered[at] ^ (1 << at % 8));
    Folder::write(folder.cache, altered);
    const Result result = run(folder, folder.cache);
    CHECK(result.y == expected);
    const bool rebuilt = result.state == State::written;
    CHECK((rebuilt || (result.state == State::reused && at >= head_bytes(file))));
    CHECK(Folder::read(folder.cache) == (rebuilt ? file : altered));
    kept += rebuilt ? 0 : 1;
  }
  CHECK(kept < 64);  // the padding before the only block
  for (size_t size = 0; size < file.size(); size += size < 200 ? 1 : 37) {
    Folder::write(folder.cache, file.substr(0, size));
    const Result result = run(folder, folder.cache);
    CHECK(result.state == State::written);
    CHECK(result.y == expected);
  }
}

TEST_CASE("packed cache: sizes and offsets behind a checksum that fits stay within the file") {
  const Folder folder;
  const std::vector<float> expected = run(folder, folder.cache).y;
  const std::string file = Folder::read(folder.cache);
  const size_t head = head_bytes(file);
  const uint64_t size = file.size();
  for (size_t at = 8; at + 8 <= head; at += 3) {  // every alignment of a field
    for (const uint64_t value : {uint64_t{0}, uint64_t{64}, size, ~uint64_t{0} - 63}) {
      std::string altered = file;
      std::memcpy(&altered[at], &value, sizeof value);
      if (at >= kPreamble) mend_checksum(altered, head);
      Folder::write(folder.cache, altered);
      const Result result = run(folder, folder.cache);
      REQUIRE(result.y == expected);
      REQUIRE((result.state == State::written || result.state == State::reused));
    }
  }
}

TEST_CASE("packed cache: a block of less than its kernel reads counts as none") {
  const Folder folder;
  for (const Isa isa : detected_isa_levels()) {
    const std::vector<float> expected = run(folder, folder.cache, isa).y;
    const std::string file = Folder::read(folder.cache);
    const size_t head = head_bytes(file);
    uint64_t offset = 0, whole = 0;  // of the only block: the head ends with these and a checksum
    std::memcpy(&offset, file.data() + head - 24, sizeof offset);
    std::memcpy(&whole, file.data() + head - 16, sizeof whole);
    REQUIRE(offset + whole == file.size());
    for (const uint64_t bytes : {uint64_t{0}, uint64_t{64}, whole - 1}) {
      std::string altered = file;
      const uint64_t sum =
          weighted_words(reinterpret_cast<const unsigned char*>(file.data()) + offset, bytes);
      std::memcpy(&altered[head - 16], &bytes, sizeof bytes);
      std::memcpy(&altered[head - 8], &sum, sizeof sum);
      mend_checksum(altered, head);
      Folder::write(folder.cache, altered);
      const Result result = run(folder, folder.cache, isa);
      CHECK(result.state == State::written);
      CHECK(result.y == expected);
    }
  }
}

TEST_CASE("packed cache: it is for one content of the model, and never replaces another file") {
  const Folder folder;
  REQUIRE(run(folder, folder.cache).state == State::written);
  ModelBuilder other = small_model();
  other.file.tensors[0].data[0] = 77;  // a weight
  Folder::write(folder.model, other.bytes());
  const std::vector<float> expected = run(folder, "").y;
  const Result result = run(folder, folder.cache);
  CHECK(result.state == State::written);
  CHECK(result.y == expected);

  const std::string model = Folder::read(folder.model);
  for (const fs::path& place : {folder.model, folder.path / "none" / "x", folder.model / "x"}) {
    const Result failed = run(folder, place);
    CHECK(failed.state == State::failed);
    CHECK(failed.y == expected);
  }
  CHECK(Folder::read(folder.model) == model);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path)) ++files;
  CHECK(files == 2);  // the model and the cache: nothing temporary is left
}

TEST_CASE("packed cache: nodes of one name keep their own weights, with and without fusion") {
  const Folder folder;
  // add takes the first of two layers with it, behind the second one.
  ModelBuilder m;
  m.inputs = {"x"};
  m.outputs = {"y", "b"};
  for (const char* name : {"x", "a", "b", "y"}) m.value(name, "int8", {1, 4}, 0.1f, 0);
  m.constant<int8_t>("v", "int8", kTensorI8, {4, 4}, std::vector<int8_t>(16, 5));
  m.values.back().scale = 0.1f;
  m.constant<int8_t>("w", "int8", kTensorI8, {4, 4}, std::vector<int8_t>(16, -3));
  m.values.back().scale = 0.1f;
  m.node("linear", {"x", "v"}, {"a"});
  m.node("linear", {"x", "w"}, {"b"});
  m.node("add", {"a", "x"}, {"y"});
  m.file.set("zeropoint.node.0.name", text("layer"));
  m.file.set("zeropoint.node.1.name", text("layer"));
  Folder::write(folder.model, m.bytes());
  for (const bool first : {true, false}) {
    fs::remove(folder.cache);
    for (const bool fuse : {first, !first}) {
      const Session session(read_model_file(folder.model.string()), 1, resolve_isa(""), {}, fuse,
                            folder.cache.string());
      CHECK(session.cache().state == (fuse == first ? State::written : State::reused));
      const std::vector<int8_t> x = {10, 20, 30, -20};
      std::vector<int8_t> y(4), b(4);
      session.run(*session.plan({{1, 4}}), {x.data()}, {y.data(), b.data()});
      CHECK(b == std::vector<int8_t>(4, -12));
      CHECK(y == std::vector<int8_t>{30, 40, 50, 0});
    }
  }
}

TEST_CASE("mapped files: pages dropped come back, and other memory is never touched") {
  const Folder folder;
  std::string bytes(100000, '\0');
  std::mt19937_64 g(4);
  for (char& c : bytes) c = static_cast<char>(g());
  const fs::path path = folder.path / "bytes";
  Folder::write(path, bytes);
  const MemoryBlock block = map_file(path.string());
  CHECK(block.stamp == map_file(path.string()).stamp);
  prefetch_pages(block, block.data, block.size);
  drop_pages(block, block.data, block.size);
  drop_pages(block, block.data + 5000, 60000);
  CHECK(std::memcmp(block.data, bytes.data(), bytes.size()) == 0);
  for (size_t i = 0; i < kOverreadBytes; ++i) CHECK(block.data[block.size + i] == 0);

  const std::string before = bytes;
  drop_pages(block, bytes.data(), bytes.size());  // not of the block
  MemoryBlock plain;
  plain.data = reinterpret_cast<const unsigned char*>(bytes.data());
  plain.size = bytes.size();
  drop_pages(plain, plain.data, plain.size);  // not mapped
  CHECK(bytes == before);
}

}  // namespace
}  // namespace zeropoint
