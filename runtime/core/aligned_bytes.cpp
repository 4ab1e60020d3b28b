// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One allocator for all long-lived numbers, so that alignment, padding and huge pages are decided
// once.
#include "runtime/core/aligned_bytes.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace fusegrad::runtime {

namespace {

// Rows of a shuffled data set lie anywhere in it: with 4 KiB pages each row costs a TLB miss.
constexpr int64_t huge_page = int64_t{2} << 20;
constexpr int64_t largest_size = int64_t{1} << 62;

}  // namespace

std::optional<AlignedBytes> AlignedBytes::unwritten(int64_t size) {
  if (size < 0 || size > largest_size) return std::nullopt;
  const int64_t boundary = size >= 2 * huge_page ? huge_page : alignment;
  const int64_t total = (size + padding + boundary - 1) / boundary * boundary;
  auto* memory = static_cast<std::byte*>(
      std::aligned_alloc(static_cast<size_t>(boundary), static_cast<size_t>(total)));
  if (memory == nullptr) return std::nullopt;
  // Only advice: where it is refused everything works with small pages.
  if (boundary == huge_page) madvise(memory, static_cast<size_t>(total), MADV_HUGEPAGE);
  std::memset(memory + size, 0, padding);
  AlignedBytes bytes;
  bytes.memory_.reset(memory);
  bytes.size_ = size;
  return bytes;
}

std::optional<AlignedBytes> AlignedBytes::zeroed(int64_t size) {
  std::optional<AlignedBytes> bytes = unwritten(size);
  if (bytes) std::memset(bytes->data(), 0, static_cast<size_t>(size));
  return bytes;
}

bool AlignedBytes::resize(int64_t new_size) {
  if (new_size == size_ && memory_) return true;
  std::optional<AlignedBytes> bytes = unwritten(new_size);
  if (!bytes) return false;
  const int64_t kept = std::min(size_, new_size);
  if (kept > 0) std::memcpy(bytes->data(), data(), static_cast<size_t>(kept));
  *this = std::move(*bytes);
  return true;
}

}  // namespace fusegrad::runtime
