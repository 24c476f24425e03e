// Copies between strided boxes of elements of any size: what transpose, slice, split, concat and
// the general reductions are made of.
#pragma once

#include <cstdint>
#include <vector>

#include "base/shape.h"
#include "base/thread_pool.h"

namespace zeropoint {

class StridedCopy {
 public:
  // A box of `sizes` elements of `element_bytes` bytes. Strides are in bytes; source strides may be
  // negative, destination strides are positive and falling. Dimensions that lie alike on both sides
  // are merged.
  StridedCopy(const std::vector<int64_t>& sizes, const std::vector<int64_t>& source_strides,
              const std::vector<int64_t>& destination_strides, int64_t element_bytes);

  void run(const void* source, void* destination, ThreadPool& pool) const;

 private:
  struct Dim {
    int64_t size, source, destination;
  };
  struct Place {
    int64_t source, destination;
  };

  static Place place_of(const std::vector<Dim>& dims, int64_t index);
  void run_block(const char* source, char* destination, ThreadPool& pool) const;
  void run_runs(const char* source, char* destination, ThreadPool& pool) const;
  void run_planes(const char* source, char* destination, ThreadPool& pool) const;

  bool empty_ = false;
  int64_t block_ = 1;      // contiguous bytes on both sides
  std::vector<Dim> dims_;  // outer to inner, over blocks
  // Set where a plane of dims is turned around: `rows` is contiguous in the source, `columns` in
  // the destination. dims_ holds the others.
  bool planes_ = false;
  Dim rows_{}, columns_{};
};

// Turns a plane of bytes around: `columns` runs of `rows` bytes, from_stride apart, become `rows`
// runs of `columns` bytes, to_stride apart.
void turn_plane(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t rows,
                int64_t columns);

// The strides in bytes of a dense row-major tensor.
std::vector<int64_t> dense_strides(const Shape& shape, int64_t element_bytes);
// A Shape's dimensions as a vector.
std::vector<int64_t> dims_of(const Shape& shape);

}  // namespace zeropoint
