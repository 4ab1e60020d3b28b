// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The checker of the arena's plan: plans edited by hand, with one mistake each.
#include "ir/kernel/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/kernel/parse.h"
#include "ir/kernel/verify.h"
#include "ir/loop/parse.h"
#include "ir/loop/verify.h"
#include "ir/support/diagnostics.h"

namespace fusegrad::ir {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// a and side are made in the first launch, c and side read in the second, d made from c. `side` is
/// read last by the third launch, through a local's neighbour in the same statement.
KernelProgram chain(const std::string& a, const std::string& side, const std::string& c,
                    const std::string& d, const std::string& arena) {
  const std::string text =
      "stage kernels program train batch 16 {\n" +
      ("  input x: f32[rows]\n  param w: f32[16]\n  result e: f32[rows]\n"
       "  buffer a: f32[rows] at " +
       a + "\n  buffer side: f32[rows, 3] at " + side + "\n  buffer c: f32[rows] at " + c +
       "\n  buffer d: f32[rows] at " + d + "\n  arena " + arena + "\n") +
      R"(
  launch {
    kernel k0 rows(b in 0..rows) { out a[b]: f32 = x[b] + 1.0 }
    kernel k1 rows(b in 0..rows, j in 0..3) { out side[b, j]: f32 = x[b] * 2.0 }
  }
  launch { kernel k2 rows(b in 0..rows) { out c[b]: f32 = a[15 - b else 0.0] * 2.0 } }
  launch {
    kernel k3 rows(b in 0..rows) { out d[b]: f32 = sum(j in 0..3: side[b, j] + c[b]) }
    kernel k4 rows(i in 0..16) { inplace w[i]: f32 = w[i] + 1.0 }
  }
  launch { kernel k5 rows(b in 0..rows) { out e[b]: f32 = d[15 - b else 0.0] * 2.0 } }
  result output e = e
})";
  SourceManager sources;
  Diagnostics diagnostics;
  std::optional<KernelModule> module =
      parse_kernel_module(sources, sources.add("p.kernels", text), diagnostics);
  EXPECT_TRUE(module.has_value()) << render(diagnostics, sources);
  return module ? module->programs.at(0) : KernelProgram{};
}

std::string overlap(const std::string& a, const std::string& b, int launch) {
  return "`" + a + "` and `" + b + "` share bytes while both are in use, in launch " +
         std::to_string(launch);
}

TEST(MemoryCheck, WhatIsNotInUseTogetherMayShare) {
  EXPECT_THAT(verify(chain("0", "64", "256", "0", "320")), IsEmpty());
  EXPECT_THAT(verify(chain("0", "128", "64", "0", "320")), IsEmpty());
  EXPECT_THAT(verify(chain("256", "0", "192", "256", "320")), IsEmpty());
  // Side by side without a gap.
  EXPECT_THAT(verify(chain("192", "0", "256", "320", "384")), IsEmpty());
}

TEST(MemoryCheck, OneOverlapIsRefused) {
  // Two kernels of one launch write at the same time.
  EXPECT_THAT(verify(chain("64", "0", "256", "320", "384")), ElementsAre(overlap("a", "side", 1)));
  // The reader's output over its operand.
  EXPECT_THAT(verify(chain("0", "64", "0", "320", "384")), ElementsAre(overlap("a", "c", 2)));
  EXPECT_THAT(verify(chain("0", "64", "320", "320", "384")), ElementsAre(overlap("c", "d", 3)));
  // A value that is not touched for a launch is still in use.
  EXPECT_THAT(verify(chain("0", "64", "192", "320", "384")), ElementsAre(overlap("side", "c", 2)));
  // Read for the last time in the launch that writes the other.
  EXPECT_THAT(verify(chain("0", "64", "320", "192", "384")), ElementsAre(overlap("side", "d", 3)));
  // One buffer over two.
  EXPECT_THAT(verify(chain("0", "0", "256", "320", "384")), ElementsAre(overlap("a", "side", 1)));
}

TEST(MemoryCheck, PlacesAreAlignedAndInside) {
  EXPECT_THAT(verify(chain("0", "64", "256", "320", "383")),
              ElementsAre("`d` at 320 ends behind the arena of 383 bytes"));
  KernelProgram program = chain("0", "64", "256", "320", "448");
  program.find_buffer("d")->offset = 324;
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("a multiple of 64: in `buffer d")));
  program.find_buffer("d")->offset = INT64_MAX - 63;
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("ends behind the arena")));
  program.find_buffer("d")->offset = -1;
  EXPECT_THAT(verify(program), ElementsAre(HasSubstr("some have none")));
}

TEST(MemoryCheck, ThePeakIsTheMostBytesInUseTogether) {
  const MemoryPeak peak = memory_peak(chain("0", "64", "256", "320", "384"));
  EXPECT_EQ(peak.bytes, 64 + 192 + 64);
  EXPECT_EQ(peak.launch, 1U);  // a, side and c; in the first there are only two of them
  EXPECT_EQ(memory_peak(KernelProgram{}).bytes, 0);
}

TEST(MemoryCheck, LoopsAreCheckedToo) {
  const std::string text = R"(stage loops
program p batch 16 {
  input x: f32[rows]
  result e: f32[rows]
  buffer a: f32[rows] at 0
  buffer c: f32[rows] at 64
  arena 128
  func f0(row_list: ptr<i32>[16], x: ptr<f32>, mutable a: ptr<f32>[16]) tasks(rows tile 1) {
    for t = begin to end step 1 {
      store a[t] = load x[i64(load row_list[t])]
    }
  }
  func f1(a: ptr<f32>[16], mutable c: ptr<f32>[16]) tasks(rows tile 1) {
    for t = begin to end step 1 {
      store c[t] = load a[t]
    }
  }
  func f2(c: ptr<f32>[16], mutable e: ptr<f32>[16]) tasks(rows tile 1) {
    for t = begin to end step 1 {
      store e[t] = load c[t]
    }
  }
  launch { f0 }
  launch { f1 }
  launch { f2 }
  result output e = e
})";
  SourceManager sources;
  Diagnostics diagnostics;
  std::optional<LoopModule> module =
      parse_loop_module(sources, sources.add("p.loops", text), diagnostics);
  ASSERT_TRUE(module.has_value()) << render(diagnostics, sources);
  LoopProgram program = module->programs.at(0);
  EXPECT_THAT(verify(program), IsEmpty());
  program.buffers[3].offset = 0;
  EXPECT_THAT(verify(program), ElementsAre(overlap("a", "c", 2)));
}

}  // namespace
}  // namespace fusegrad::ir
