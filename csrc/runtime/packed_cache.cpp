#include "runtime/packed_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>

#include "base/checked_math.h"
#include "base/checksum.h"
#include "base/error.h"

// Written by the build from the sources that decide about layouts (cmake/source_digest.cmake).
#if defined(ZEROPOINT_HAS_SOURCE_DIGEST)
#include "source_digest.h"
#else
#define ZEROPOINT_SOURCE_DIGEST ""
#endif

namespace zeropoint {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "cache files are read in place");

// The level "portable" is of every processor, and not of one layout.
#if defined(__x86_64__)
constexpr char kProcessor[] = "x86_64";
#elif defined(__aarch64__)
constexpr char kProcessor[] = "aarch64";
#else
constexpr char kProcessor[] = "other";
#endif

constexpr char kMagic[] = "ZPPACKED";
constexpr size_t kMagicBytes = sizeof kMagic - 1;
constexpr size_t kPreambleBytes = kMagicBytes + 3 * sizeof(uint64_t);
constexpr size_t kAlignment = 64;
constexpr int kTemporaryNames = 100;
constexpr size_t kMostParts = 1024;  // of one writev()

std::string hexadecimal(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[value >> shift & 15];
  return text;
}

// -- reading -----------------------------------------------------------------------------------

// Walks the head; after a step beyond its end nothing is valid any more.
class Cursor {
 public:
  Cursor(const unsigned char* data, size_t size) : data_(data), size_(size) {}

  bool valid() const { return valid_; }
  bool at_end() const { return valid_ && at_ == size_; }

  uint64_t number() {
    uint64_t value = 0;
    if (const unsigned char* p = take(sizeof value)) std::memcpy(&value, p, sizeof value);
    return value;
  }
  std::string_view text() {
    const uint64_t length = number();
    const unsigned char* p = take(length);
    return p == nullptr ? std::string_view{}
                        : std::string_view{reinterpret_cast<const char*>(p), length};
  }

 private:
  const unsigned char* take(uint64_t bytes) {
    valid_ = valid_ && bytes <= size_ - at_;
    if (!valid_) return nullptr;
    const unsigned char* p = data_ + at_;
    at_ += bytes;
    return p;
  }

  const unsigned char* data_;
  uint64_t size_;
  uint64_t at_ = 0;
  bool valid_ = true;
};

class CacheFile final : public WeightSource {
 public:
  // nullptr where the file is not of this identity, or not whole.
  static std::shared_ptr<const CacheFile> open(const std::string& path,
                                               const std::string& identity) {
    auto file = std::make_shared<CacheFile>();
    try {
      file->block_ = map_file(path);
    } catch (const Error&) {
      return nullptr;
    }
    return file->read_head(identity) ? file : nullptr;
  }

  std::string_view stamp() const { return stamp_; }

  WeightBlock find(const WeightKey& key) const override {
    const auto it = blocks_.find({key.value, key.index});
    if (it == blocks_.end()) return {};
    const Block& block = it->second;
    if (block.kernel != key.kernel || block.most_bytes != key.most_bytes) return {};
    const unsigned char* data = block_.data + block.offset;
    prefetch_pages(block_, data, block.bytes);
    if (weighted_words(data, block.bytes) != block.checksum) return {};
    return {data, block.bytes};
  }

 private:
  struct Block {
    std::string_view kernel;
    uint64_t most_bytes = 0, offset = 0, bytes = 0, checksum = 0;
  };

  bool read_head(const std::string& identity) {
    const unsigned char* data = block_.data;
    if (block_.size < kPreambleBytes || std::memcmp(data, kMagic, kMagicBytes) != 0) return false;
    Cursor preamble(data + kMagicBytes, kPreambleBytes - kMagicBytes);
    const uint64_t file_bytes = preamble.number(), head_bytes = preamble.number();
    const uint64_t checksum = preamble.number();
    if (file_bytes != block_.size || head_bytes < kPreambleBytes || head_bytes > file_bytes) {
      return false;
    }
    const unsigned char* head = data + kPreambleBytes;
    const auto rest = static_cast<size_t>(head_bytes - kPreambleBytes);
    if (weighted_words(head, rest) != checksum) return false;
    Cursor in(head, rest);
    if (in.text() != identity) return false;
    stamp_ = in.text();
    const uint64_t count = in.number();
    for (uint64_t i = 0; i < count && in.valid(); ++i) {
      Block block;
      const std::string_view value = in.text();
      const uint64_t index = in.number();
      block.kernel = in.text();
      block.most_bytes = in.number();
      block.offset = in.number();
      block.bytes = in.number();
      block.checksum = in.number();
      if (block.offset % kAlignment != 0 || block.offset < head_bytes ||
          block.offset > file_bytes || block.bytes > file_bytes - block.offset) {
        return false;
      }
      if (!blocks_.emplace(std::pair{value, index}, block).second) return false;
    }
    return in.at_end();
  }

  MemoryBlock block_;
  std::string_view stamp_;
  std::map<std::pair<std::string_view, uint64_t>, Block> blocks_;
};

// -- writing -----------------------------------------------------------------------------------

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::io, path + ": packed weights cannot be kept there: " + what);
}
[[noreturn]] void fail(const std::string& path, int error) {
  fail(path, std::generic_category().message(error));
}

void append_number(std::string& out, uint64_t value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
void append_text(std::string& out, const std::string& text) {
  append_number(out, text.size());
  out += text;
}

// Everything before the blocks; `offsets` receives where they go.
std::string make_head(const std::string& identity, const std::string& stamp,
                      const std::vector<WeightStore::Entry>& entries,
                      std::vector<uint64_t>& offsets) {
  size_t head_bytes = kPreambleBytes + 3 * sizeof(uint64_t) + identity.size() + stamp.size();
  for (const WeightStore::Entry& entry : entries) {
    head_bytes += 7 * sizeof(uint64_t) + entry.key.value.size() + entry.key.kernel.size();
  }
  uint64_t end = head_bytes;
  for (const WeightStore::Entry& entry : entries) {
    offsets.push_back(round_up<uint64_t>(end, kAlignment));
    end = offsets.back() + entry.block.bytes;
  }

  std::string body;
  append_text(body, identity);
  append_text(body, stamp);
  append_number(body, entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const WeightKey& key = entries[i].key;
    const WeightBlock& block = entries[i].block;
    append_text(body, key.value);
    append_number(body, static_cast<uint64_t>(key.index));
    append_text(body, key.kernel);
    append_number(body, key.most_bytes);
    append_number(body, offsets[i]);
    append_number(body, block.bytes);
    append_number(body, weighted_words(static_cast<const unsigned char*>(block.data), block.bytes));
  }
  std::string head = kMagic;
  append_number(head, end);
  append_number(head, head_bytes);
  append_number(head,
                weighted_words(reinterpret_cast<const unsigned char*>(body.data()), body.size()));
  return head + body;
}

// A file under a name of its own beside `path`, gone again unless it was moved there.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& path) : target_(path) {
    static std::atomic<unsigned> counter{0};
    for (int i = 0; i < kTemporaryNames && fd_ < 0; ++i) {
      name_ = path + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) + ".tmp";
      fd_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0 && errno != EEXIST) break;
    }
    if (fd_ < 0) fail(path, errno);
  }
  ~TemporaryFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!moved_) ::unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  // Many parts at once: the system then keeps the file in large pages, which are mapped sooner.
  void write(std::vector<iovec> parts) {
    size_t first = 0;
    while (first < parts.size()) {
      const auto count = static_cast<int>(std::min<size_t>(parts.size() - first, kMostParts));
      const ssize_t done = ::writev(fd_, parts.data() + first, count);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail(target_, errno);
      auto left = static_cast<size_t>(done);
      while (first < parts.size() && left >= parts[first].iov_len) left -= parts[first++].iov_len;
      if (left == 0) continue;
      parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + left;
      parts[first].iov_len -= left;
    }
  }
  void move_to_target() {
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0 || ::rename(name_.c_str(), target_.c_str()) != 0) fail(target_, errno);
    moved_ = true;
  }

 private:
  std::string target_, name_;
  int fd_ = -1;
  bool moved_ = false;
};

// A mistyped path must not cost anybody a file of another kind. What is left of a cache file that
// was cut off still begins as one.
void expect_replaceable(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT) return;
    fail(path, errno);
  }
  struct stat status{};
  char magic[kMagicBytes];
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const ssize_t found = regular ? ::pread(fd, magic, kMagicBytes, 0) : -1;
  const bool ours = found >= 0 && std::memcmp(magic, kMagic, static_cast<size_t>(found)) == 0;
  ::close(fd);
  if (!ours) fail(path, "another kind of file is there already; it is left alone");
}

void write_cache(const std::string& path, const std::string& identity, const std::string& stamp,
                 const std::vector<WeightStore::Entry>& entries) {
  expect_replaceable(path);
  std::vector<uint64_t> offsets;
  const std::string head = make_head(identity, stamp, entries, offsets);
  static constexpr char kZeros[kAlignment] = {};
  std::vector<iovec> parts;
  uint64_t end = 0;
  const auto append = [&](const void* data, uint64_t offset, size_t bytes) {
    parts.push_back({const_cast<char*>(kZeros), static_cast<size_t>(offset - end)});
    parts.push_back({const_cast<void*>(data), bytes});
    end = offset + bytes;
  };
  append(head.data(), 0, head.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    append(entries[i].block.data, offsets[i], entries[i].block.bytes);
  }
  TemporaryFile file(path);
  file.write(std::move(parts));
  file.move_to_target();
}

// -- identity ----------------------------------------------------------------------------------

// A name that any file system takes.
std::string file_name(const Model& model, uint64_t checksum, Isa isa) {
  std::string name = model.name.substr(0, 60);
  for (char& c : name) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       c == '_' || c == '-';
    if (!plain) c = '_';
  }
  return name + "-" + hexadecimal(checksum) + "-" + isa_name(isa) + ".packed";
}

}  // namespace

const char* cache_state_name(CacheReport::State state) {
  switch (state) {
    case CacheReport::State::off:
      return "off";
    case CacheReport::State::reused:
      return "reused";
    case CacheReport::State::written:
      return "written";
    case CacheReport::State::failed:
      return "failed";
  }
  return "";
}

PackedCache::PackedCache(const std::string& place, const Model& model, Isa isa) : path_(place) {
  const uint64_t checksum =
      model.checksum ? *model.checksum : weighted_words(model.file.data, model.file.size);
  struct stat status{};
  if (::stat(place.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    path_ += (path_.back() == '/' ? "" : "/") + file_name(model, checksum, isa);
  }
  identity_ = std::string("build ") + ZEROPOINT_SOURCE_DIGEST + "\nisa " + kProcessor + " " +
              isa_name(isa) + "\nmodel " + std::to_string(model.file.size) + " bytes, checksum " +
              hexadecimal(checksum) + "\n";
  stamp_ = model.file.stamp;
  if (*ZEROPOINT_SOURCE_DIGEST == '\0') return;
  const auto file = CacheFile::open(path_, identity_);
  source_ = file;
  vouches_for_model_ = file != nullptr && !stamp_.empty() && file->stamp() == stamp_;
}

CacheReport PackedCache::update(const WeightStore& store) const {
  CacheReport report;
  report.path = path_;
  if (source_ != nullptr && store.packed_now() == 0) {
    report.state = CacheReport::State::reused;
    return report;
  }
  try {
    if (*ZEROPOINT_SOURCE_DIGEST == '\0') {
      fail(path_, "this build of the engine does not know its own sources; build it with CMake");
    }
    write_cache(path_, identity_, stamp_, store.entries());
    report.state = CacheReport::State::written;
  } catch (const Error& error) {
    report.state = CacheReport::State::failed;
    report.problem = error.what();
  }
  return report;
}

}  // namespace zeropoint
