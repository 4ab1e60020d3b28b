// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plan of the arena is replayed launch by launch: buffers come into use, are looked at beside
// those already there, and leave after the last launch that touches them. A reused live buffer
// gives plausible wrong numbers, not a crash, so the plan is never believed.
#include "ir/kernel/memory_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/kernel/buffer_text.h"

namespace fusegrad::ir {
namespace {

/// First and last launch that touches a buffer.
struct Use {
  size_t first = 0;
  size_t last = 0;
};

std::map<std::string, Use, std::less<>> uses_of(const std::vector<TouchedBuffers>& launches) {
  std::map<std::string, Use, std::less<>> uses;
  for (size_t launch = 0; launch < launches.size(); ++launch) {
    for (const std::string& name : launches[launch]) {
      auto [use, first] = uses.try_emplace(name, Use{launch, launch});
      use->second.last = launch;
    }
  }
  return uses;
}

/// A buffer's bytes in the arena.
struct Place {
  int64_t begin = 0;
  int64_t end = 0;
  const std::string* name = nullptr;
};

/// The places that are taken at a moment. They are disjoint: what overlaps is reported and left
/// out.
class Occupied {
 public:
  /// The names of those that share bytes with `place`; if there are none, it is added.
  std::vector<std::string> add(const Place& place) {
    std::vector<std::string> sharing;
    auto next = places_.lower_bound(place.begin);
    if (next != places_.begin() && std::prev(next)->second.end > place.begin) --next;
    for (; next != places_.end() && next->second.begin < place.end; ++next) {
      sharing.push_back(*next->second.name);
    }
    if (sharing.empty() && place.begin < place.end) places_.emplace(place.begin, place);
    return sharing;
  }

  void remove(const Place& place) {
    auto found = places_.find(place.begin);
    if (found != places_.end() && found->second.name == place.name) places_.erase(found);
  }

 private:
  std::map<int64_t, Place> places_;  ///< by begin
};

}  // namespace

std::optional<int64_t> bytes_of(const Buffer& buffer) {
  if (buffer.packed_dimension >= static_cast<int>(buffer.shape.size()) ||
      (buffer.packed_dimension >= 0 && buffer.packed_block < 1)) {
    return std::nullopt;
  }
  std::optional<int64_t> bytes = byte_size(buffer.type);
  for (size_t d = 0; d < buffer.shape.size() && bytes; ++d) {
    std::optional<int64_t> extent = buffer.shape[d].maximum;
    if (*extent < 0) return std::nullopt;
    if (static_cast<int>(d) == buffer.packed_dimension) {
      extent = checked_add(*extent, buffer.packed_block - 1);
      if (extent) extent = *extent / buffer.packed_block * buffer.packed_block;
    }
    bytes = extent ? checked_multiply(*bytes, *extent) : std::nullopt;
  }
  return bytes;
}

namespace {

bool same_memory(const Buffer& a, const Buffer& b) {
  return a.kind == b.kind && a.type == b.type && a.shape == b.shape &&
         a.packed_dimension == b.packed_dimension && a.packed_block == b.packed_block;
}

}  // namespace

void SharedMemoryCheck::add(const std::string& program, const std::vector<Buffer>& buffers,
                            std::vector<std::string>& violations) {
  for (const Buffer& buffer : buffers) {
    if (buffer.kind != BufferKind::parameter && buffer.kind != BufferKind::state) continue;
    auto [other, is_new] = first_.try_emplace(buffer.name, &buffer, program);
    if (!is_new && !same_memory(*other->second.first, buffer)) {
      violations.push_back(fmt::format("`{}` of program {} is laid out otherwise than in {}",
                                       buffer.name, program, other->second.second));
    }
  }
}

std::vector<TouchedBuffers> touched_buffers(const KernelProgram& program) {
  std::vector<TouchedBuffers> launches;
  for (const Launch& launch : program.launches) {
    TouchedBuffers& touched = launches.emplace_back();
    for (const Kernel& kernel : launch.kernels) {
      TouchedBuffers locals;
      for (const KernelStatement& statement : kernel.statements) {
        for (const ExprRef& e : {statement.value, statement.condition}) {
          if (e == nullptr) continue;
          walk(e, [&](const Expr& node) {
            if (node.op == Op::read && !locals.contains(node.name)) touched.insert(node.name);
          });
        }
        (statement.storage == Storage::local ? locals : touched).insert(statement.name);
      }
    }
  }
  return launches;
}

std::vector<std::string> check_arena(const std::vector<Buffer>& buffers, int64_t arena_bytes,
                                     const std::vector<TouchedBuffers>& launches) {
  std::vector<std::string> violations;
  bool some_with = false;
  bool some_without = false;
  std::vector<std::vector<Place>> coming(launches.size());
  std::vector<std::vector<Place>> leaving(launches.size());
  const std::map<std::string, Use, std::less<>> uses = uses_of(launches);
  for (const Buffer& buffer : buffers) {
    if (buffer.kind == BufferKind::temporary) {
      (buffer.offset == -1 ? some_without : some_with) = true;
    }
    if (buffer.offset == -1) continue;
    const std::optional<int64_t> bytes = bytes_of(buffer);
    const std::optional<int64_t> end =
        bytes ? checked_add(std::max<int64_t>(buffer.offset, 0), *bytes) : std::nullopt;
    if (buffer.kind != BufferKind::temporary || buffer.offset < 0 ||
        buffer.offset % arena_alignment != 0) {
      violations.push_back(
          fmt::format("only temporaries have a position, a multiple of {}: in `{}`",
                      arena_alignment, print_buffer(buffer)));
    } else if (!end || *end > arena_bytes) {
      violations.push_back(fmt::format("`{}` at {} ends behind the arena of {} bytes", buffer.name,
                                       buffer.offset, arena_bytes));
    } else if (auto use = uses.find(buffer.name); use != uses.end()) {
      const Place place = {buffer.offset, *end, &buffer.name};
      coming[use->second.first].push_back(place);
      leaving[use->second.last].push_back(place);
    }
  }
  if (some_with && some_without) {
    violations.push_back("some temporaries have a position and some have none");
  }
  Occupied occupied;
  for (size_t launch = 0; launch < launches.size(); ++launch) {
    for (const Place& place : coming[launch]) {
      for (const std::string& other : occupied.add(place)) {
        violations.push_back(
            fmt::format("`{}` and `{}` share bytes while both are in use, in launch {}", other,
                        *place.name, launch + 1));
      }
    }
    for (const Place& place : leaving[launch]) occupied.remove(place);
  }
  return violations;
}

MemoryPeak memory_peak(const KernelProgram& program) {
  const std::map<std::string, Use, std::less<>> uses = uses_of(touched_buffers(program));
  std::vector<int64_t> coming(program.launches.size(), 0);
  std::vector<int64_t> leaving(program.launches.size(), 0);
  auto add = [](int64_t& sum, int64_t bytes) { sum = saturating_add(sum, bytes); };
  for (const Buffer& buffer : program.buffers) {
    auto use = uses.find(buffer.name);
    if (buffer.kind != BufferKind::temporary || use == uses.end()) continue;
    const int64_t bytes = bytes_of(buffer).value_or(0);
    add(coming[use->second.first], bytes);
    add(leaving[use->second.last], bytes);
  }
  MemoryPeak peak;
  int64_t now = 0;
  for (size_t launch = 0; launch < program.launches.size(); ++launch) {
    add(now, coming[launch]);
    if (now > peak.bytes) peak = {now, launch};
    now -= leaving[launch];
  }
  return peak;
}

}  // namespace fusegrad::ir
