#include "runtime/border.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "kernels/elementwise_s8/elementwise_s8.h"
#include "runtime/gguf.h"

namespace zeropoint {
namespace {

bool has(const std::vector<const ValueInfo*>& values, const ValueInfo* value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

[[noreturn]] void fail(const Model& model, const std::string& what) {
  throw Error(ErrorCode::invalid_argument, model.source + ": " + what);
}

DType dtype_in_file(const Model& model, const ValueInfo* value) {
  return has(model.unsigned_values, value) ? DType::u8 : value->dtype;
}

bool can_be(const ValueInfo& value, DType outside) {
  if (value.dtype != DType::s8) return value.dtype == outside;
  return outside == DType::s8 || outside == DType::u8 || (outside == DType::f32 && value.quantized);
}

// Adding 128 flips the top bit: uint8 and int8 differ by the same.
void flip(const void* from, void* to, int64_t n) {
  const auto* x = static_cast<const uint8_t*>(from);
  auto* y = static_cast<uint8_t*>(to);
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] ^ 0x80;
}

void copy(const void* from, void* to, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

// The sign and payload of a NaN differ between CPUs and compilers; outputs have one kind of NaN.
void copy_floats(const void* from, void* to, int64_t n) {
  constexpr uint32_t kInfinity = 0x7F800000, kNan = 0x7FC00000;
  const auto* x = static_cast<const unsigned char*>(from);
  auto* y = static_cast<unsigned char*>(to);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + 4 * i, sizeof bits);
    bits = (bits & 0x7FFFFFFF) > kInfinity ? kNan : bits;
    std::memcpy(y + 4 * i, &bits, sizeof bits);
  }
}

// Between one byte outside and the stored domain, either way.
void convert_bytes(DType outside, const void* from, void* to, int64_t n) {
  constexpr int kOutside = 128;  // of uint8
  const int offset = outside == DType::u8 ? kOutside : 0;
  offset == kActOffset ? copy(from, to, n) : flip(from, to, n);
}

}  // namespace

void convert_domain(const void* from, void* to, int64_t n) {
  convert_bytes(DType::s8, from, to, n);
}

Border::Border(const Model& model, const BorderRequest& request, Isa isa) : isa_(isa_mask(isa)) {
  const auto parse = [&](const std::string& text, const ValueInfo* value) {
    if (text == "as_file") return dtype_in_file(model, value);
    for (const DType dtype : {DType::f32, DType::s8, DType::u8}) {
      if (text == dtype_name(dtype)) return dtype;
    }
    fail(model, "inputs and outputs can be 'as_file', 'float32', 'int8' or 'uint8', not " +
                    gguf::quoted(text));
  };
  const auto resolve = [&](const std::vector<const ValueInfo*>& values) {
    std::vector<DType> dtypes;
    for (const ValueInfo* value : values) {
      const DType wanted = parse(request.all, value);
      dtypes.push_back(value->dtype == DType::s8 && can_be(*value, wanted)
                           ? wanted
                           : dtype_in_file(model, value));
    }
    return dtypes;
  };
  inputs_ = resolve(model.inputs);
  outputs_ = resolve(model.outputs);
  for (const auto& [name, text] : request.named) {
    bool known = false;
    const auto set = [&](const std::vector<const ValueInfo*>& values, std::vector<DType>& dtypes) {
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i]->name != name) continue;
        known = true;
        dtypes[i] = parse(text, values[i]);
        if (text != "as_file" && !can_be(*values[i], dtypes[i])) {
          fail(model, gguf::quoted(name) + " is " + dtype_name(values[i]->dtype) +
                          (values[i]->dtype == DType::s8 ? " without a scale and zero point" : "") +
                          " and cannot be " + text +
                          "; only quantized values are converted at the border");
        }
      }
    };
    set(model.inputs, inputs_);
    set(model.outputs, outputs_);
    if (!known) fail(model, "has no input or output named " + gguf::quoted(name));
  }
}

void Border::load(const ValueInfo& value, DType outside, const void* from, void* to,
                  int64_t n) const {
  if (value.dtype != DType::s8) {
    copy(from, to, n * dtype_size(value.dtype));
  } else if (outside == DType::f32) {
    elementwise_s8::QuantizeArgs args;
    args.x = static_cast<const float*>(from);
    args.y = static_cast<act_t*>(to);
    args.n = n;
    args.scale = value.quant.scale;
    args.clamp.zero_point = value.quant.zero_point;
    elementwise_s8::select(isa_).quantize(args);
  } else {
    convert_bytes(outside, from, to, n);
  }
}

void Border::store(const ValueInfo& value, DType outside, const void* from, void* to,
                   int64_t n) const {
  if (value.dtype == DType::f32) {
    copy_floats(from, to, n);
    return;
  }
  if (value.dtype != DType::s8) {
    copy(from, to, n * dtype_size(value.dtype));
    return;
  }
  AlignedBuffer stored;
  if (value.is_constant()) {  // in the file's domain
    stored = AlignedBuffer(static_cast<size_t>(n));
    convert_domain(from, stored.data(), n);
    from = stored.data();
  }
  if (outside == DType::f32) {
    elementwise_s8::DequantizeArgs args;
    args.x = static_cast<const act_t*>(from);
    args.y = static_cast<float*>(to);
    args.n = n;
    args.params = value.quant;
    elementwise_s8::select(isa_).dequantize(args);
  } else {
    convert_bytes(outside, from, to, n);
  }
}

}  // namespace zeropoint
