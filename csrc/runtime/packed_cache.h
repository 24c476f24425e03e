// A file of packed weights, so that the next session of the same model maps them instead of packing
// them again.
//
// The file belongs to one model, one ISA level and one build of the engine: its header names the
// content of the model file, processor and level, and a digest of the sources that decide about
// layouts. A file that belongs to anything else, or is truncated or damaged, counts as none: what
// is missing is packed as ever, and the file is written anew. It remembers the stamp of the model
// file, too, whose checksum need not be computed again while it stays the same. Every size and
// offset is checked, and every block of weights has a checksum. That is protection against
// accidents: whoever can write the file decides what the model computes, as with the model file
// itself. Checksums can be forged: a folder for models that you trust is not one for models of
// strangers.
//
//   "ZPPACKED"  uint64 file_bytes  uint64 head_bytes  uint64 head_checksum
//   text identity, text stamp of the model file (see MemoryBlock)
//   uint64 count, then for each block: text value (that the node writes), uint64 index,
//   text kernel, uint64 bytes asked for, uint64 offset, uint64 bytes used, uint64 checksum
//   the blocks, at 64-byte boundaries
//
// All little-endian; a text is its uint64 length and its bytes. The head ends with the table;
// head_checksum is of what follows it there. Checksums are those of base/checksum.h.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/isa.h"
#include "ops/weight_store.h"
#include "runtime/mapped_file.h"
#include "runtime/model.h"

namespace zeropoint {

// What became of a session's cache file.
struct CacheReport {
  enum class State {
    off,      // none was asked for
    reused,   // all packed weights come from the file
    written,  // the file was missing or did not fit; now it is there
    failed,   // the file could not be written; the session works all the same
  };
  State state = State::off;
  std::string path;
  std::string problem;  // where it failed
};
const char* cache_state_name(CacheReport::State state);

class PackedCache {
 public:
  // The cache file at `place` for one model; an existing folder stands for a file in it that is
  // named after model and level. Looks into the file, and never throws for what it finds there.
  PackedCache(const std::string& place, const Model& model, Isa isa);

  const std::string& path() const { return path_; }
  // nullptr where the file is of no use.
  std::shared_ptr<const WeightSource> source() const { return source_; }
  // Was it written from this very model file, unaltered since, and checked then?
  bool vouches_for_model() const { return vouches_for_model_; }

  // Call when all operators are made: writes the file where something had to be packed. It takes
  // its place in one step, so other processes see the old file or the new one, whole.
  CacheReport update(const WeightStore& store) const;

 private:
  std::string path_;
  std::string identity_, stamp_;
  std::shared_ptr<const WeightSource> source_;
  bool vouches_for_model_ = false;
};

}  // namespace zeropoint
