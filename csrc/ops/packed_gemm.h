// One weight matrix, packed for the kernel that will run it: the same face for int8 and float32, so
// that convolutions and linear layers are written once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/gemm_s8/gemm_s8.h"
#include "ops/quantized_weights.h"
#include "ops/weight_store.h"

namespace zeropoint {

// The size of a weight matrix: n output columns of taps * depth weights; and of what it multiplies:
// m rows, 0 where that is not known before a run.
struct GemmSize {
  int n = 0, taps = 1, depth = 0;
  int64_t m = 0;
};

template <typename T>
class PackedGemm;

template <>
class PackedGemm<act_t> {
 public:
  // What to pack, of that size; called only where the weights are not packed already. The kernel
  // then reads them within the function that it is handed.
  using Pack = std::function<void(const std::function<void(const gemm_s8::PackArgs&)>&)>;
  PackedGemm(const GemmSize& size, const OutputClamp& clamp, const OpContext& context,
             const Pack& pack);

  // Computes rows [m_begin, m_end) and columns [n_begin, n_end) of C.
  void run(const Rows<act_t>& a, act_t* c, ptrdiff_t c_stride, int64_t m_begin, int64_t m_end,
           int n_begin, int n_end, void* scratch, const Residual& residual = Residual{}) const;
  // The same, raw accumulators.
  void run(const Rows<act_t>& a, int32_t* c, ptrdiff_t c_stride, int64_t m_begin, int64_t m_end,
           int n_begin, int n_end, void* scratch) const;

  static constexpr int kColumnBlock = gemm_s8::kColumnBlock;
  int n() const { return n_; }
  int mr() const { return kernel_.mr; }
  size_t scratch_bytes() const { return scratch_bytes_; }  // for each thread
  size_t packed_bytes() const { return packed_.size(); }
  const char* kernel_name() const { return kernel_.name; }
  Isa kernel_isa() const { return kernel_.isa; }

 private:
  void run(gemm_s8::RunArgs& args, const Rows<act_t>& a, ptrdiff_t c_stride, int64_t m_begin,
           int64_t m_end, int n_begin, int n_end, void* scratch) const;

  const gemm_s8::Kernel& kernel_;
  int n_;
  size_t scratch_bytes_;
  PackedWeights packed_;
  OutputClamp clamp_;
};

template <>
class PackedGemm<float> {
 public:
  using Pack = std::function<void(const std::function<void(const gemm_f32::PackArgs&)>&)>;
  PackedGemm(const GemmSize& size, const FloatClip& clip, const OpContext& context,
             const Pack& pack);

  void run(const Rows<float>& a, float* c, ptrdiff_t c_stride, int64_t m_begin, int64_t m_end,
           int n_begin, int n_end, void* scratch) const;

  static constexpr int kColumnBlock = gemm_f32::kColumnBlock;
  int n() const { return n_; }
  int mr() const { return kernel_.mr; }
  size_t scratch_bytes() const { return 0; }
  size_t packed_bytes() const { return packed_.size(); }
  const char* kernel_name() const { return kernel_.name; }
  Isa kernel_isa() const { return kernel_.isa; }

 private:
  const gemm_f32::Kernel& kernel_;
  int n_;
  PackedWeights packed_;
  FloatClip clip_;
};

// A part of the work for one thread is worth at least this many multiply-accumulates.
inline constexpr int64_t kMacsPerPart = 1 << 19;

// All of C = A x B, split over the pool: by tiles of rows where there are enough of them, else by
// blocks of columns (never over k). `scratch` holds scratch_bytes() for each thread of the pool.
// C is of type T, or int32 for raw accumulators.
template <typename T, typename Y>
void run_parallel(const PackedGemm<T>& gemm, const Rows<T>& a, Y* c, ptrdiff_t c_stride, int64_t m,
                  ThreadPool& pool, void* scratch);
// The same, and adds a residual.
void run_parallel(const PackedGemm<act_t>& gemm, const Rows<act_t>& a, act_t* c, ptrdiff_t c_stride,
                  int64_t m, ThreadPool& pool, void* scratch, const Residual& residual);

extern template void run_parallel(const PackedGemm<act_t>&, const Rows<act_t>&, act_t*, ptrdiff_t,
                                  int64_t, ThreadPool&, void*);
extern template void run_parallel(const PackedGemm<act_t>&, const Rows<act_t>&, int32_t*, ptrdiff_t,
                                  int64_t, ThreadPool&, void*);
extern template void run_parallel(const PackedGemm<float>&, const Rows<float>&, float*, ptrdiff_t,
                                  int64_t, ThreadPool&, void*);

}  // namespace zeropoint
