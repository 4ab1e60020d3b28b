// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Buffers by name, for work over a whole program: looking through the list for every name would
// make it quadratic.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/kernel/program.h"

namespace fusegrad::ir {

/// Refers to the list, which must stay where it is and as it is.
class BufferIndex {
 public:
  explicit BufferIndex(const std::vector<Buffer>& buffers) {
    for (const Buffer& buffer : buffers) by_name_.emplace(buffer.name, &buffer);
  }

  /// Null if there is no such buffer.
  const Buffer* find(std::string_view name) const {
    auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<std::string_view, const Buffer*> by_name_;
};

}  // namespace fusegrad::ir
