// ISA levels: which exist, which this CPU has, which one is in force.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace zeropoint {

// In rising order of preference within one architecture. A level includes the ones below it.
enum class Isa : uint8_t { portable, avx2, avxvnni, avx512vnni, neon, dotprod, i8mm };

// The set of levels whose kernels may be used.
class IsaMask {
 public:
  constexpr IsaMask() = default;
  constexpr void add(Isa level) { bits_ |= 1u << static_cast<unsigned>(level); }
  constexpr bool has(Isa level) const { return (bits_ >> static_cast<unsigned>(level)) & 1u; }

 private:
  uint32_t bits_ = 0;
};

struct IsaLevel {
  Isa isa;
  const char* name;      // as in ZEROPOINT_ISA and --isa
  const char* features;  // what it needs, for people
  bool (*detected)();    // does this CPU (and its operating system) have it?
};

// Every level built into this library, lowest first.
const std::vector<IsaLevel>& isa_levels();

const char* isa_name(Isa isa);

// Levels this CPU has, lowest first (portable always is one).
std::vector<Isa> detected_isa_levels();

// The level named `name`, checked against this CPU; "" means the best one, or the value of
// ZEROPOINT_ISA where that is set. Unknown or undetected: Error(ErrorCode::isa).
Isa resolve_isa(const std::string& name);

// All levels of this architecture up to and including `cap`.
IsaMask isa_mask(Isa cap);

#if defined(__x86_64__)
// The avxvnni level means dot products of 256-bit vectors, which a CPU has in the VEX encoding
// (AVX-VNNI), in the EVEX encoding (AVX-512 VL and VNNI), or in both. True for the first.
bool has_vex_vnni();
#endif

}  // namespace zeropoint
