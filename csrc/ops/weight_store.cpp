#include "ops/weight_store.h"

namespace zeropoint {

PackedWeights::PackedWeights(const OpContext& context, const char* kernel, size_t bytes,
                             const PackFunction& pack)
    : size_(bytes) {
  if (context.store != nullptr) {
    data_ = context.store->get(kernel, bytes, pack);
    return;
  }
  own_ = AlignedBuffer(bytes);
  pack(own_.data());
  data_ = own_.data();
}

const void* WeightStore::get(const char* kernel, size_t bytes, const PackFunction& pack) {
  WeightKey key{value_, next_index_[value_]++, kernel, bytes};
  const void* data = source_ == nullptr ? nullptr : source_->find(key);
  if (data == nullptr) {
    void* fresh = arena_.allocate(bytes);
    pack(fresh);
    data = fresh;
    ++packed_now_;
  }
  entries_.push_back({std::move(key), data});
  return data;
}

}  // namespace zeropoint
