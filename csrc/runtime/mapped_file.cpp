#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "base/error.h"
#include "base/huge_pages.h"

namespace zeropoint {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw Error(ErrorCode::io,
              path + ": cannot " + what + ": " + std::generic_category().message(error));
}

// Is [begin, begin + bytes) a part of pages that were mapped from a file?
bool is_mapped(const MemoryBlock& block, const void* begin, size_t bytes) {
  const auto* first = static_cast<const unsigned char*>(begin);
  return block.mapped && first >= block.data && first <= block.data + block.size &&
         bytes <= static_cast<size_t>(block.data + block.size - first);
}

std::string stamp_of(const struct stat& status) {
#if defined(__APPLE__)
  const timespec modified = status.st_mtimespec, changed = status.st_ctimespec;
#else
  const timespec modified = status.st_mtim, changed = status.st_ctim;
#endif
  std::string stamp;
  for (const auto number :
       {static_cast<int64_t>(status.st_dev), static_cast<int64_t>(status.st_ino),
        static_cast<int64_t>(status.st_size), static_cast<int64_t>(modified.tv_sec),
        static_cast<int64_t>(modified.tv_nsec), static_cast<int64_t>(changed.tv_sec),
        static_cast<int64_t>(changed.tv_nsec)}) {
    stamp += std::to_string(number) + " ";
  }
  return stamp;
}

struct Descriptor {
  int fd;
  ~Descriptor() { ::close(fd); }
};

}  // namespace

MemoryBlock map_file(const std::string& path) {
  // O_NONBLOCK: opening a pipe by mistake must not hang.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail(path, "open the model file", errno);
  struct stat status{};
  if (::fstat(file.fd, &status) != 0) fail(path, "read the model file", errno);
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::io, path + ": is a directory, not a model file");
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::io,
                path + ": is not a regular file; a model file is mapped into memory");
  }
  if (status.st_size == 0) throw Error(ErrorCode::invalid_model, path + ": the file is empty");
  if (status.st_size > kMaxBytes) {
    throw Error(ErrorCode::invalid_model, path + ": the file is larger than 1 TiB");
  }

  // One page more than the file needs, so that reads just past its end are allowed even where the
  // file fills its last page; and from a boundary of huge pages, so that those of the operating
  // system's file cache are mapped as a whole.
  const auto size = static_cast<size_t>(status.st_size);
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t reserved = round_up(size, page) + page + kHugePage;
  void* reservation = ::mmap(nullptr, reserved, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reservation == MAP_FAILED) fail(path, "map the model file", errno);
  const std::shared_ptr<const void> owner(
      reservation, [reserved](const void* p) { ::munmap(const_cast<void*>(p), reserved); });
  void* base = reinterpret_cast<void*>(
      round_up(reinterpret_cast<uintptr_t>(reservation), uintptr_t{kHugePage}));
  if (::mmap(base, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, file.fd, 0) == MAP_FAILED) {
    fail(path, "map the model file", errno);
  }
  return {static_cast<const unsigned char*>(base), size, true, true, owner, stamp_of(status)};
}

void prefetch_pages(const MemoryBlock& block, const void* begin, size_t bytes) {
#if defined(__linux__)
  constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ of Linux 5.14; older ones refuse it
  if (!is_mapped(block, begin, bytes)) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(begin) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(begin) + bytes;
  ::madvise(reinterpret_cast<void*>(first), end - first, kPopulateRead);
#else
  (void)block, (void)begin, (void)bytes;
#endif
}

void drop_pages(const MemoryBlock& block, const void* begin, size_t bytes) {
  if (!is_mapped(block, begin, bytes)) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = round_up(reinterpret_cast<uintptr_t>(begin), page);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

}  // namespace zeropoint
