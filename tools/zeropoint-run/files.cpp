#include "files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace zeropoint_run {
namespace {

constexpr size_t kChunk = size_t{1} << 20;

[[noreturn]] void fail(const char* what, const std::string& path) {
  throw FileError(std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno));
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

std::vector<unsigned char> read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rb"));
  if (!file) fail("open", path);
  std::vector<unsigned char> bytes;
  for (;;) {
    const size_t before = bytes.size();
    bytes.resize(before + kChunk);
    const size_t read = std::fread(bytes.data() + before, 1, kChunk, file.get());
    bytes.resize(before + read);
    if (read == kChunk) continue;
    if (std::ferror(file.get())) fail("read", path);
    return bytes;
  }
}

void write_file(const std::string& path, const void* data, size_t bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail("create", path);
  const bool written = std::fwrite(data, 1, bytes, file) == bytes;
  const int reason = errno;
  if (std::fclose(file) != 0) fail("write", path);  // buffered bytes are written here
  if (!written) {
    errno = reason;
    fail("write", path);
  }
}

}  // namespace zeropoint_run
