// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arena plans of random programs, with one temporary moved: the checker accepts exactly the moves
// that are legal, and what it accepts computes the same bits.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

#include "ir/kernel/memory_check.h"
#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/evaluate.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "tests/support/random_program.h"

namespace fusegrad::test {
namespace {

using namespace ir;

/// What the program leaves behind in everything but the arena.
std::vector<std::vector<std::byte>> run(const LoopProgram& loops) {
  OwnedLoopMemory memory(loops);
  std::mt19937 random(7);
  for (const Buffer& buffer : loops.buffers) {
    if (buffer.type != ScalarType::f32 || buffer.kind == BufferKind::temporary) continue;
    for (float& value : memory.elements<float>(buffer.name)) {
      value = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
    }
  }
  const Status ran =
      evaluate(loops, memory.view(), LoopUniforms{loops.batch, 1, 0, 0, 0}, LoopOrder{2, true});
  EXPECT_TRUE(ran) << (ran ? "" : ran.error().message);
  std::vector<std::vector<std::byte>> left;
  for (const Buffer& buffer : loops.buffers) {
    if (buffer.kind == BufferKind::temporary) continue;
    const std::span<std::byte> bytes = memory.bytes(buffer.name);
    left.emplace_back(bytes.begin(), bytes.end());
  }
  return left;
}

/// The plain definition, one byte at a time: from its first to its last launch a buffer owns its
/// bytes. Who takes part in a launch is read from the functions of L.
bool is_legal(const LoopProgram& loops) {
  std::vector<std::set<std::string>> touched;
  for (const LoopLaunch& launch : loops.launches) {
    touched.emplace_back();
    for (const std::string& name : launch.functions) {
      for (const LoopParameter& parameter : loops.find_function(name)->parameters) {
        touched.back().insert(parameter.name);
      }
    }
  }
  std::vector<std::vector<bool>> owned(
      touched.size(), std::vector<bool>(static_cast<size_t>(loops.arena_bytes), false));
  for (const Buffer& buffer : loops.buffers) {
    if (buffer.kind != BufferKind::temporary) continue;
    const int64_t bytes = buffer.physical_elements() * byte_size(buffer.type);
    if (buffer.offset % 64 != 0 || buffer.offset + bytes > loops.arena_bytes) return false;
    size_t first = touched.size();
    size_t last = 0;
    for (size_t launch = 0; launch < touched.size(); ++launch) {
      if (!touched[launch].contains(buffer.name)) continue;
      first = std::min(first, launch);
      last = launch;
    }
    for (size_t launch = first; launch <= last && first < touched.size(); ++launch) {
      for (int64_t byte = buffer.offset; byte < buffer.offset + bytes; ++byte) {
        std::vector<bool>& bytes_of_launch = owned[launch];
        if (bytes_of_launch[static_cast<size_t>(byte)]) return false;
        bytes_of_launch[static_cast<size_t>(byte)] = true;
      }
    }
  }
  return true;
}

struct Counts {
  int legal = 0;
  int refused = 0;
};

void move_each_temporary(const TensorProgram& program, uint64_t seed, Counts& counts) {
  const KernelProgram planned = plan_memory(schedule({{group(simplify(program))}}).programs.at(0));
  const LoopProgram loops = expand_functions(lower_to_loops(planned));
  ASSERT_TRUE(verify(planned).empty());
  ASSERT_TRUE(is_legal(loops)) << print(planned);
  const MemoryPeak peak = memory_peak(planned);
  EXPECT_LE(peak.bytes, planned.arena_bytes);
  const std::vector<std::vector<std::byte>> expected = run(loops);
  std::mt19937_64 random(seed);
  for (size_t b = 0; b < planned.buffers.size(); ++b) {
    if (planned.buffers[b].kind != BufferKind::temporary) continue;
    for (int attempt = 0; attempt < 3; ++attempt) {
      KernelProgram moved = planned;
      LoopProgram moved_loops = loops;
      // One step outside of the arena is possible too; every eighth place is not aligned.
      const auto places = static_cast<uint64_t>(planned.arena_bytes / 64 + 1);
      const int64_t offset =
          static_cast<int64_t>(random() % places) * 64 + (random() % 8 == 0 ? 4 : 0);
      moved.buffers[b].offset = offset;
      for (Buffer& buffer : moved_loops.buffers) {
        if (buffer.name == moved.buffers[b].name) buffer.offset = offset;
      }
      const bool legal = is_legal(moved_loops);
      EXPECT_EQ(verify(moved).empty(), legal) << moved.buffers[b].name << " at " << offset << "\n"
                                              << print(moved);
      EXPECT_EQ(verify(moved_loops, true).empty(), legal) << moved.buffers[b].name;
      if (legal) {
        EXPECT_EQ(run(moved_loops), expected) << moved.buffers[b].name << " at " << offset << "\n"
                                              << print(moved);
      }
      ++(legal ? counts.legal : counts.refused);
    }
  }
}

TEST(MemoryPlan, EveryMoveIsLegalOrNoticed) {
  Counts counts;
  for (uint64_t seed = 0; seed < 120 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    move_each_temporary(random_program(seed, RandomProgramOptions::for_seed(seed)), seed, counts);
  }
  // Both happen often enough to mean something.
  EXPECT_GT(counts.legal, 50);
  EXPECT_GT(counts.refused, 200);
}

}  // namespace
}  // namespace fusegrad::test
