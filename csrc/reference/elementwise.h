// The textbook form of elementwise_s8: the scalar functions of quant/, one element at a time.
#pragma once

#include "kernels/elementwise_s8/elementwise_s8.h"

namespace zeropoint::reference {

void add(const elementwise_s8::BinaryArgs& args);
void mul(const elementwise_s8::BinaryArgs& args);
void lookup(const elementwise_s8::LookupArgs& args);
void quantize(const elementwise_s8::QuantizeArgs& args);
void dequantize(const elementwise_s8::DequantizeArgs& args);

}  // namespace zeropoint::reference
