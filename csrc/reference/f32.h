// Textbook oracles of the float32 families: one plain loop an output, in the order of operations
// that the contract headers state. The math library's fma is the truth for gemm_f32; the functions
// of elementwise_f32 are evaluated one scalar at a time (their own accuracy is tested against the
// math library in double).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/depthwise_f32/depthwise_f32.h"
#include "kernels/elementwise_f32/elementwise_f32.h"
#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/pool_f32/pool_f32.h"

namespace zeropoint::reference {

// Unpacked weights; args.packed is not read.
void run_gemm_f32(const gemm_f32::PackArgs& weights, const gemm_f32::RunArgs& args);

void run_depthwise_f32(const depthwise_f32::RunArgs& args);

void run_max_pool_f32(const pool_f32::RunArgs& args);
void run_mean_pool_f32(const pool_f32::RunArgs& args);

void run_binary_f32(elementwise_f32::Binary function, const elementwise_f32::BinaryArgs& args);
void run_unary_f32(const elementwise_f32::UnaryArgs& args);
void run_prelu_f32(const elementwise_f32::PreluArgs& args);
void run_softmax_f32(const elementwise_f32::SoftmaxArgs& args);
void run_softmax_s8(const elementwise_f32::SoftmaxS8Args& args);

}  // namespace zeropoint::reference
