// Versions, ISA levels, dtypes and sizes: what needs no session.
#include "capi/guard.h"
#include "capi/tensors.h"
#include "cpu/isa.h"

using zeropoint::IsaLevel;
using zeropoint::capi::guarded;

uint32_t zp_abi_version(void) { return ZP_ABI_VERSION; }

const char* zp_version(void) { return ZEROPOINT_VERSION; }

size_t zp_isa_count(void) { return zeropoint::isa_levels().size(); }

zp_status zp_isa_at(size_t index, zp_isa_level* level) {
  return guarded([&] {
    zeropoint::capi::require(level, "level");
    const std::vector<IsaLevel>& levels = zeropoint::isa_levels();
    zeropoint::capi::check_index(index, levels.size(), "ISA levels");
    const IsaLevel& found = levels[index];
    *level = {found.name, found.features, found.detected() ? 1 : 0};
  });
}

size_t zp_dtype_size(zp_dtype dtype) {
  switch (dtype) {
    case ZP_FLOAT32:
    case ZP_INT32:
      return 4;
    case ZP_INT8:
    case ZP_UINT8:
      return 1;
    case ZP_INT64:
      return 8;
  }
  return 0;
}

const char* zp_dtype_name(zp_dtype dtype) {
  switch (dtype) {
    case ZP_FLOAT32:
      return "float32";
    case ZP_INT8:
      return "int8";
    case ZP_UINT8:
      return "uint8";
    case ZP_INT32:
      return "int32";
    case ZP_INT64:
      return "int64";
  }
  return "?";
}

size_t zp_tensor_bytes(const zp_shape* shape, zp_dtype dtype) {
  if (shape == nullptr || shape->rank < 0 || shape->rank > ZP_MAX_RANK) return 0;
  auto bytes = static_cast<int64_t>(zp_dtype_size(dtype));
  for (int32_t d = 0; d < shape->rank; ++d) {
    if (shape->dims[d] < 1 || __builtin_mul_overflow(bytes, shape->dims[d], &bytes) ||
        bytes > zeropoint::kMaxBytes) {
      return 0;
    }
  }
  return static_cast<size_t>(bytes);
}
