// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// This program's own operators new and delete.
#include "tests/driver/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(FUSEGRAD_SANITIZED)
#define FUSEGRAD_COUNTS_ALLOCATIONS 0
#else
#define FUSEGRAD_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::atomic<long> count = 0;
}  // namespace

#if FUSEGRAD_COUNTS_ALLOCATIONS
void* operator new(size_t size) {
  count.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace fusegrad::test {

long allocations() { return count; }
bool counts_allocations() { return FUSEGRAD_COUNTS_ALLOCATIONS != 0; }

}  // namespace fusegrad::test
