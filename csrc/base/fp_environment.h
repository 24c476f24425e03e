// Round-to-nearest-even with denormals kept, whatever the host program has set.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace zeropoint {

// Programs linked with -ffast-math, and some audio hosts, set flush-to-zero in every thread. Each
// run, and each pool worker, holds one of these so that results do not depend on it.
class ScopedFpEnvironment {
 public:
#if defined(__x86_64__)
  ScopedFpEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(0x1F80); }
  ~ScopedFpEnvironment() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#elif defined(__aarch64__)
  ScopedFpEnvironment() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
    __asm__ volatile("msr fpcr, %0" : : "r"(0ul));
  }
  ~ScopedFpEnvironment() { __asm__ volatile("msr fpcr, %0" : : "r"(saved_)); }

 private:
  unsigned long saved_;
#else
  ScopedFpEnvironment() {}
#endif
 public:
  ScopedFpEnvironment(const ScopedFpEnvironment&) = delete;
  ScopedFpEnvironment& operator=(const ScopedFpEnvironment&) = delete;
};

}  // namespace zeropoint
