// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A second opinion on the plan of the arena. It is derived from the program alone (who touches
// which buffer in which launch) and shares no code with the pass that makes the plan.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ir/kernel/program.h"

namespace fusegrad::ir {

/// Where a temporary may begin, in bytes: a cache line.
inline constexpr int64_t arena_alignment = 64;

/// Bytes of a buffer at the full batch, padding of a packed layout included; nothing if they do not
/// fit 63 bits or the buffer is packed by what does not exist.
std::optional<int64_t> bytes_of(const Buffer& buffer);

/// Parameters and states are one memory for all programs of a module: remembers those of the
/// programs that it is shown, in order, and says where a later one disagrees about kind, type,
/// shape or layout.
class SharedMemoryCheck {
 public:
  void add(const std::string& program, const std::vector<Buffer>& buffers,
           std::vector<std::string>& violations);

 private:
  /// By buffer, with the program that declared it first. Refers to the lists that were shown.
  std::map<std::string, std::pair<const Buffer*, std::string>> first_;
};

/// Names of all buffers that a launch reads or writes. Its kernels run at the same time or in any
/// order, so all of them are in use together.
using TouchedBuffers = std::set<std::string, std::less<>>;
std::vector<TouchedBuffers> touched_buffers(const KernelProgram& program);

/// What is wrong with the places of the temporaries, in words; empty: nothing. A buffer is in use
/// from the first launch that touches it to the last one.
///   1. only temporaries have a place, a multiple of `arena_alignment`, and end inside the arena
///   2. no temporary has a place, or all have one
///   3. no two buffers that are in use at the same time have a byte in common
/// Runs in n log n of the buffers and touches.
std::vector<std::string> check_arena(const std::vector<Buffer>& buffers, int64_t arena_bytes,
                                     const std::vector<TouchedBuffers>& launches);

/// The most bytes of temporaries in use in one launch (alignment not counted), and the first such
/// launch, counted from 0. No plan needs less memory. Zero without temporaries.
struct MemoryPeak {
  int64_t bytes = 0;
  size_t launch = 0;
};
MemoryPeak memory_peak(const KernelProgram& program);

}  // namespace fusegrad::ir
