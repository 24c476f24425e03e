#include "ops/weight_store.h"

namespace zeropoint {
namespace {

// How much of what lies at `packed` the kernel reads.
size_t bytes_read(const void* packed, size_t most_bytes, UsedFunction used) {
  return used != nullptr ? used(packed) : most_bytes;
}

}  // namespace

PackedWeights::PackedWeights(const OpContext& context, const char* kernel, size_t most_bytes,
                             const PackFunction& pack, UsedFunction used) {
  if (context.store != nullptr) {
    block_ = context.store->get(kernel, most_bytes, pack, used);
    return;
  }
  own_ = AlignedBuffer(most_bytes);
  pack(own_.data());
  block_ = {own_.data(), bytes_read(own_.data(), most_bytes, used)};
}

WeightBlock WeightStore::get(const char* kernel, size_t most_bytes, const PackFunction& pack,
                             UsedFunction used) {
  WeightKey key{value_, next_index_[value_]++, kernel, most_bytes};
  WeightBlock block = source_ == nullptr ? WeightBlock{} : source_->find(key);
  if (block.data == nullptr || block.bytes != bytes_read(block.data, most_bytes, used)) {
    void* const fresh = arena_.allocate(most_bytes);
    pack(fresh);
    block = {fresh, bytes_read(fresh, most_bytes, used)};
    arena_.shrink_last(fresh, block.bytes);
    ++packed_now_;
  }
  entries_.push_back({std::move(key), block});
  return block;
}

}  // namespace zeropoint
