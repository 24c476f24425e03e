#include "ops/integer_product.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/checked_math.h"
#include "base/error.h"
#include "ops/packed_gemm.h"

namespace zeropoint {
namespace {

constexpr int64_t kMaxDepth = std::numeric_limits<int32_t>::max() / (255 * 255);

int checked_side(int64_t size) {
  if (size < 1 || size > std::numeric_limits<int32_t>::max() / 4) {
    throw Error(ErrorCode::unsupported,
                "a matrix side of " + std::to_string(size) + " cannot be multiplied");
  }
  return static_cast<int>(size);
}

int checked_depth(int64_t k) {
  if (k > kMaxDepth) {
    throw Error(ErrorCode::unsupported,
                "sums over " + std::to_string(k) +
                    " products of int8 values could overflow their 32-bit accumulators; at most " +
                    std::to_string(kMaxDepth) + " are possible: keep this product in float32");
  }
  return checked_side(k);
}

}  // namespace

IntegerProduct::IntegerProduct(int64_t n, int64_t k, IsaMask isa)
    : n_(checked_side(n)),
      k_(checked_depth(k)),
      gemm_(gemm_s8::select({0, n_, 1, k_}, isa)),
      finisher_(accumulator_s32::select(isa)),
      gemm_bytes_(round_up<size_t>(gemm_.packed_bytes(n_, 1, k_) + kOverreadBytes, 64)) {
  checked_mul(int64_t{n_}, k_, "a matrix");
}

size_t IntegerProduct::column_bytes() const {
  return round_up<size_t>(static_cast<size_t>(n_) * sizeof(int32_t), 64);
}

size_t IntegerProduct::raw_bytes() const {
  return round_up<size_t>(
      static_cast<size_t>(n_) * static_cast<size_t>(kRowBlock) * sizeof(int32_t), 64);
}

size_t IntegerProduct::turned_bytes() const {
  return round_up<size_t>(static_cast<size_t>(n_) * static_cast<size_t>(k_), 64);
}

size_t IntegerProduct::scratch_bytes() const {
  return raw_bytes() + round_up<size_t>(gemm_.scratch_bytes(n_, 1, k_), 64);
}

const int32_t* IntegerProduct::column_sums(const void* packed) const {
  return reinterpret_cast<const int32_t*>(static_cast<const char*>(packed) + gemm_bytes_);
}

void IntegerProduct::turn(const act_t* b, int8_t* turned) const {
  finisher_.transpose(b, n_, k_, n_, turned);
}

void IntegerProduct::pack_with_bias(const int8_t* b, const int32_t* bias, const float* multiplier,
                                    bool once, void* packed) const {
  gemm_s8::PackArgs args;
  args.weights = b;
  args.bias = bias;
  args.multiplier = multiplier;
  args.n = n_;
  args.depth = k_;
  args.once = once;
  gemm_.pack(args, packed);
}

void IntegerProduct::pack(const int8_t* b, bool once, void* packed) const {
  auto* columns = reinterpret_cast<int32_t*>(static_cast<char*>(packed) + gemm_bytes_);
  // The sums' place first holds the bias, which is 0.
  std::fill_n(columns, n_, 0);
  pack_with_bias(b, columns, nullptr, once, packed);
  for (int j = 0; j < n_; ++j) columns[j] = finisher_.sum_weights(b + int64_t{j} * k_, k_);
}

void IntegerProduct::pack_fused(const int8_t* b, int32_t zero_a, float multiplier, bool once,
                                void* packed) const {
  auto* bias = reinterpret_cast<int32_t*>(static_cast<char*>(packed) + gemm_bytes_);
  for (int j = 0; j < n_; ++j) {
    bias[j] = -zero_a * finisher_.sum_weights(b + int64_t{j} * k_, k_);
  }
  auto* multipliers = reinterpret_cast<float*>(reinterpret_cast<char*>(bias) + column_bytes());
  std::fill_n(multipliers, n_, multiplier);
  pack_with_bias(b, bias, multipliers, once, packed);
}

void IntegerProduct::run_raw(const act_t* a, const void* packed, int64_t rows, int32_t* raw,
                             void* scratch) const {
  gemm_s8::RunArgs args;
  args.a.base = a;
  args.a.stride = k_;
  args.a.depth = k_;
  args.packed = packed;
  args.n = n_;
  args.c_s32 = raw;
  args.c_stride = n_;
  args.m_end = rows;
  args.n_end = n_;
  args.scratch = scratch;
  gemm_.run(args);
}

void IntegerProduct::run_fused(const act_t* a, const void* packed, const OutputClamp& clamp,
                               int64_t begin, int64_t end, act_t* y, void* scratch) const {
  gemm_s8::RunArgs args;
  args.a.base = a;
  args.a.stride = k_;
  args.a.depth = k_;
  args.packed = packed;
  args.n = n_;
  args.c = y;
  args.c_stride = n_;
  args.clamp = clamp;
  args.m_begin = begin;
  args.m_end = end;
  args.n_end = n_;
  args.scratch = static_cast<char*>(scratch) + raw_bytes();
  gemm_.run(args);
}

int64_t IntegerProduct::row_blocks(int64_t m) const { return ceil_div(m, kRowBlock); }

int64_t IntegerProduct::row_block_grain() const {
  return std::max<int64_t>(1, kMacsPerPart / (kRowBlock * n_ * k_));
}

}  // namespace zeropoint
