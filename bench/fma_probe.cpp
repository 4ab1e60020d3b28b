// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A register-only loop of independent multiply-adds. Two units of latency 4 to 5 need at most ten
// chains in flight.
#include "bench/fma_probe.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <chrono>

namespace fusegrad::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int chains = 12;
constexpr long iterations = 500'000;

#if defined(__x86_64__)

// The chains start at different values: equal chains would be computed once. The values stay close
// to one, far from subnormals. The sum goes out through a volatile so that nothing is dropped.

__attribute__((target("avx2,fma"))) void run_avx2() {
  const __m256 factor = _mm256_set1_ps(0.999999f);
  const __m256 term = _mm256_set1_ps(1e-6f);
  __m256 values[chains];
  for (int chain = 0; chain < chains; ++chain) {
    values[chain] = _mm256_set1_ps(1.0f + 0.01f * static_cast<float>(chain));
  }
  for (long iteration = 0; iteration < iterations; ++iteration) {
#pragma GCC unroll 12
    for (int chain = 0; chain < chains; ++chain) {
      values[chain] = _mm256_fmadd_ps(values[chain], factor, term);
    }
  }
  __m256 sum = values[0];
  for (int chain = 1; chain < chains; ++chain) sum = _mm256_add_ps(sum, values[chain]);
  [[maybe_unused]] volatile float sink = _mm256_cvtss_f32(sum);
}

__attribute__((target("avx512f"))) void run_avx512() {
  const __m512 factor = _mm512_set1_ps(0.999999f);
  const __m512 term = _mm512_set1_ps(1e-6f);
  __m512 values[chains];
  for (int chain = 0; chain < chains; ++chain) {
    values[chain] = _mm512_set1_ps(1.0f + 0.01f * static_cast<float>(chain));
  }
  for (long iteration = 0; iteration < iterations; ++iteration) {
#pragma GCC unroll 12
    for (int chain = 0; chain < chains; ++chain) {
      values[chain] = _mm512_fmadd_ps(values[chain], factor, term);
    }
  }
  __m512 sum = values[0];
  for (int chain = 1; chain < chains; ++chain) sum = _mm512_add_ps(sum, values[chain]);
  [[maybe_unused]] volatile float sink = _mm512_cvtss_f32(sum);
}

struct Kernel {
  const char* name;
  void (*run)();
  int lanes;
};

Kernel kernel_of_this_cpu() {
  if (__builtin_cpu_supports("avx512f")) return {"AVX-512", run_avx512, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {"AVX2", run_avx2, 8};
  return {"no FMA", nullptr, 0};
}

#else

struct Kernel {
  const char* name;
  void (*run)();
  int lanes;
};

Kernel kernel_of_this_cpu() { return {"no FMA", nullptr, 0}; }

#endif

}  // namespace

double measure_fma_peak() {
  const Kernel kernel = kernel_of_this_cpu();
  if (kernel.run == nullptr) return 0.0;
  const auto begin = Clock::now();
  kernel.run();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return 2.0 * kernel.lanes * chains * static_cast<double>(iterations) / seconds * 1e-9;
}

const char* fma_instructions() { return kernel_of_this_cpu().name; }

}  // namespace fusegrad::bench
