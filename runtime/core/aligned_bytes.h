// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Owned memory for numbers: aligned for vector loads, padded so that a vector load at the end stays
// inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

namespace fusegrad::runtime {

/// `size()` bytes at an address that is a multiple of `alignment`, followed by `padding` zero
/// bytes.
class AlignedBytes {
 public:
  static constexpr int64_t alignment = 64;
  static constexpr int64_t padding = 64;

  AlignedBytes() = default;
  /// All bytes zero. Nothing when there is no memory or `size` is negative or absurd.
  static std::optional<AlignedBytes> zeroed(int64_t size);
  /// Unwritten memory (the padding is zero); pages are only committed when they are touched.
  static std::optional<AlignedBytes> unwritten(int64_t size);
  /// Keeps the first min(size(), new_size) bytes. False, and nothing changed, when there is no
  /// memory.
  [[nodiscard]] bool resize(int64_t new_size);

  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  int64_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  int64_t size_ = 0;
};

}  // namespace fusegrad::runtime
