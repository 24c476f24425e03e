#include "cpu/isa.h"

#include <cstdlib>

#include "base/error.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace zeropoint {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
// __builtin_cpu_supports also checks that the operating system saves the wide registers.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
bool has_avxvnni() { return has_avx2() && (has_vex_vnni() || has_avx512vnni()); }
#elif defined(__aarch64__) && defined(__linux__)
// Bits of the kernel's documented user interface; spelled out because older headers lack the names.
bool has_dotprod() { return (getauxval(AT_HWCAP) & (1ul << 20)) != 0; }  // HWCAP_ASIMDDP
bool has_i8mm() {
  return has_dotprod() && (getauxval(AT_HWCAP2) & (1ul << 13)) != 0;  // HWCAP2_I8MM
}
#elif defined(__aarch64__) && defined(__APPLE__)
bool has_feature(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool has_dotprod() { return has_feature("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has_dotprod() && has_feature("hw.optional.arm.FEAT_I8MM"); }
#endif

std::string names_of(const std::vector<Isa>& levels) {
  std::string s;
  for (Isa isa : levels) s += (s.empty() ? "" : ", ") + std::string(isa_name(isa));
  return s;
}

}  // namespace

const std::vector<IsaLevel>& isa_levels() {
  static const std::vector<IsaLevel> levels = {
      {Isa::portable, "portable", "C++17", always},
#if defined(__x86_64__)
      {Isa::avx2, "avx2", "AVX2, FMA", has_avx2},
      {Isa::avxvnni, "avxvnni", "AVX2, FMA, and AVX-VNNI or AVX-512 VL + VNNI", has_avxvnni},
      {Isa::avx512vnni, "avx512vnni", "AVX-512 F, BW, DQ, VL, VNNI", has_avx512vnni},
#elif defined(__aarch64__)
      {Isa::neon, "neon", "Armv8.0 Advanced SIMD", always},
      {Isa::dotprod, "dotprod", "Advanced SIMD dot product (SDOT)", has_dotprod},
      {Isa::i8mm, "i8mm", "dot product and int8 matrix multiplication (SMMLA)", has_i8mm},
#endif
  };
  return levels;
}

const char* isa_name(Isa isa) {
  for (const IsaLevel& level : isa_levels()) {
    if (level.isa == isa) return level.name;
  }
  return "unknown";
}

std::vector<Isa> detected_isa_levels() {
  std::vector<Isa> found;
  for (const IsaLevel& level : isa_levels()) {
    if (level.detected()) found.push_back(level.isa);
  }
  return found;
}

Isa resolve_isa(const std::string& name) {
  std::string wanted = name;
  std::string source = "ISA level";
  if (wanted.empty()) {
    const char* env = std::getenv("ZEROPOINT_ISA");
    if (env == nullptr || *env == '\0') return detected_isa_levels().back();
    wanted = env;
    source = "ZEROPOINT_ISA";
  }
  for (const IsaLevel& level : isa_levels()) {
    if (wanted != level.name) continue;
    if (!level.detected()) {
      throw Error(ErrorCode::isa,
                  source + " '" + wanted + "' needs " + level.features +
                      ", which this CPU lacks; it has: " + names_of(detected_isa_levels()));
    }
    return level.isa;
  }
  std::vector<Isa> known;
  for (const IsaLevel& level : isa_levels()) known.push_back(level.isa);
  throw Error(ErrorCode::isa,
              source + " '" + wanted + "' is unknown; this build knows: " + names_of(known));
}

#if defined(__x86_64__)
bool has_vex_vnni() { return __builtin_cpu_supports("avxvnni"); }
#endif

IsaMask isa_mask(Isa cap) {
  IsaMask mask;
  for (const IsaLevel& level : isa_levels()) {
    if (level.isa <= cap) mask.add(level.isa);
  }
  return mask;
}

}  // namespace zeropoint
