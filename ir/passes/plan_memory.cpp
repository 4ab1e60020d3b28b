// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Temporaries share one arena: each lives from the launch that writes it to the last launch that
// reads it.
#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/passes/passes.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

constexpr int64_t alignment = 64;

/// Launches that use a buffer: the first and the last.
struct Uses {
  size_t first = 0;
  size_t last = 0;
};

struct Life {
  Buffer* buffer;
  int64_t bytes;
  size_t first;
  size_t last;
};

int64_t aligned(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

KernelProgram plan_memory(const KernelProgram& program) {
  KernelProgram result = program;
  std::unordered_map<std::string, Uses> uses;
  for (size_t l = 0; l < result.launches.size(); ++l) {
    const auto use = [&](const std::string& name) {
      auto [found, is_first] = uses.try_emplace(name, Uses{l, l});
      found->second.last = l;
    };
    const auto visit = [&](const Expr& node) {
      if (node.op == Op::read) use(node.name);
    };
    for (const Kernel& kernel : result.launches[l].kernels) {
      for (const KernelStatement& statement : kernel.statements) {
        if (statement.storage != Storage::local) use(statement.name);
        if (statement.condition != nullptr) walk(statement.condition, visit);
        walk(statement.value, visit);
      }
    }
  }
  std::vector<Life> lives;
  for (Buffer& buffer : result.buffers) {
    if (buffer.kind != BufferKind::temporary) continue;
    std::optional<int64_t> bytes =
        checked_multiply(buffer.physical_elements(), byte_size(buffer.type));
    FG_CHECK(bytes.has_value(), "size of `{}` overflows", buffer.name);
    const auto found = uses.find(buffer.name);
    const Uses use = found == uses.end() ? Uses{} : found->second;
    lives.push_back({&buffer, aligned(std::max<int64_t>(*bytes, 1)), use.first, use.last});
  }
  // Largest first, each at the lowest place that is free during its life: simple, deterministic,
  // close to optimal.
  std::stable_sort(lives.begin(), lives.end(),
                   [](const Life& a, const Life& b) { return a.bytes > b.bytes; });
  std::vector<const Life*> placed;  // by offset
  for (Life& life : lives) {
    int64_t offset = 0;
    for (const Life* other : placed) {
      if (other->buffer->offset >= offset + life.bytes) break;
      const bool together = life.first <= other->last && other->first <= life.last;
      if (together) offset = std::max(offset, other->buffer->offset + other->bytes);
    }
    life.buffer->offset = offset;
    auto behind = std::upper_bound(
        placed.begin(), placed.end(), offset,
        [](int64_t place, const Life* other) { return place < other->buffer->offset; });
    placed.insert(behind, &life);
    result.arena_bytes = std::max(result.arena_bytes, offset + life.bytes);
  }
  return result;
}

}  // namespace fusegrad::ir
