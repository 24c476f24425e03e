// A x B of two int8 matrices with zero points on both sides that may be known at run time only:
// what matmul, matmul_integer and dynamic_linear share.
//
// B is packed for gemm_s8 as it is, in the file's domain; zero points are dealt with by sums over
// the rows of A and the columns of B (kernels/accumulator_s32). Where B's zero point is 0 and A's
// is known when B is packed, its term goes into the bias and nothing else is needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/accumulator_s32/accumulator_s32.h"
#include "kernels/gemm_s8/gemm_s8.h"

namespace zeropoint {

class IntegerProduct {
 public:
  // Rows of A that one thread finishes at a time.
  static constexpr int64_t kRowBlock = 24;

  // Error(unsupported) where a product of these sides could overflow: 255 * 255 * K is below 2^31
  // up to K = 33025.
  IntegerProduct(int64_t n, int64_t k, IsaMask isa);

  int n() const { return n_; }
  int k() const { return k_; }
  const char* kernel_name() const { return gemm_.name; }
  Isa kernel_isa() const { return gemm_.isa; }
  const accumulator_s32::Kernel& finisher() const { return finisher_; }

  // Packed B, then the sums of its columns (the bias, where it is fused), then multipliers.
  size_t packed_bytes() const { return gemm_bytes_ + 2 * column_bytes(); }
  const int32_t* column_sums(const void* packed) const;
  // B [N][K] of int8. With a multiplier, zero_a goes into the bias and run_fused() may follow.
  // `once`: packed for one run only, so packing should cost little.
  void pack(const int8_t* b, bool once, void* packed) const;
  void pack_fused(const int8_t* b, int32_t zero_a, float multiplier, bool once, void* packed) const;
  // B [K][N] of activations as int8 [N][K], for the two above.
  size_t turned_bytes() const;
  void turn(const act_t* b, int8_t* turned) const;

  // Scratch of one thread for run_rows() and run_fused().
  size_t scratch_bytes() const;

  // Rows [begin, end) of A [M][K] times B, written requantized to y [M][N].
  void run_fused(const act_t* a, const void* packed, const OutputClamp& clamp, int64_t begin,
                 int64_t end, act_t* y, void* scratch) const;

  // Calls finish(m, raw, row_sum) for rows [begin, end): raw[n] = sum_k a[m][k] * b[k][n], a in
  // the stored domain; row_sum = sum_k a[m][k] where with_row_sums, else 0.
  template <typename Finish>
  void run_rows(const act_t* a, const void* packed, bool with_row_sums, int64_t begin, int64_t end,
                void* scratch, const Finish& finish) const {
    auto* raw = static_cast<int32_t*>(scratch);
    for (int64_t m = begin; m < end; m += kRowBlock) {
      const int64_t rows = end - m < kRowBlock ? end - m : kRowBlock;
      run_raw(a + m * k_, packed, rows, raw, static_cast<char*>(scratch) + raw_bytes());
      for (int64_t r = 0; r < rows; ++r) {
        const act_t* row = a + (m + r) * k_;
        finish(m + r, raw + r * n_, with_row_sums ? finisher_.sum_activations(row, k_) : 0);
      }
    }
  }

  // How many blocks of rows there are, and the grain for splitting them.
  int64_t row_blocks(int64_t m) const;
  int64_t row_block_grain() const;

 private:
  size_t column_bytes() const;
  size_t raw_bytes() const;
  void run_raw(const act_t* a, const void* packed, int64_t rows, int32_t* raw, void* scratch) const;
  void pack_with_bias(const int8_t* b, const int32_t* bias, const float* multiplier, bool once,
                      void* packed) const;

  int n_, k_;
  const gemm_s8::Kernel& gemm_;
  const accumulator_s32::Kernel& finisher_;
  size_t gemm_bytes_;
};

}  // namespace zeropoint
