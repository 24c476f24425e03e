#include "reference/elementwise.h"

#include <cstdint>

namespace zeropoint::reference {

void add(const elementwise_s8::BinaryArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    args.y[i] = zeropoint::add(args.a[i * args.a_step], args.zero_a, args.multiplier_a,
                               args.b[i * args.b_step], args.zero_b, args.multiplier_b, args.clamp);
  }
}

void mul(const elementwise_s8::BinaryArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    args.y[i] = zeropoint::mul(args.a[i * args.a_step], args.zero_a, args.b[i * args.b_step],
                               args.zero_b, args.multiplier_a, args.clamp);
  }
}

void lookup(const elementwise_s8::LookupArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    args.y[i] = args.table[static_cast<int>(args.x[i]) - kActMin];
  }
}

void quantize(const elementwise_s8::QuantizeArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) {
    args.y[i] = zeropoint::quantize(args.x[i], args.scale, args.clamp);
  }
}

void dequantize(const elementwise_s8::DequantizeArgs& args) {
  for (int64_t i = 0; i < args.n; ++i) args.y[i] = zeropoint::dequantize(args.x[i], args.params);
}

}  // namespace zeropoint::reference
