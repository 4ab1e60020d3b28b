// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// When sums run along sorted places, and that their bits are those of comparing.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>
#include <string>

#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/evaluate.h"
#include "ir/loop/print.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "ir/support/diagnostics.h"
#include "ir/tensor/parse.h"

namespace fusegrad::ir {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

KernelProgram scheduled(const std::string& body, const ScheduleOptions& options = {}) {
  SourceManager sources;
  Diagnostics diagnostics;
  auto stage = parse_tensor_module(
      sources,
      sources.add("test.txt", "stage tensor.grad\n\nprogram train batch 6 {\n" + body + "}\n"),
      diagnostics);
  EXPECT_TRUE(stage.has_value()) << render(diagnostics, sources);
  if (!stage) return {};
  KernelModule module;
  module.programs = {group(stage->module.programs[0])};
  KernelProgram program = plan_memory(schedule(module, options).programs[0]);
  EXPECT_THAT(verify(program), IsEmpty()) << print(program);
  return program;
}

/// The update of a table of V rows of D numbers from sums of `term` over B x T places.
std::string update(int64_t values, int64_t width, int64_t places, const std::string& input,
                   const std::string& where, const std::string& term) {
  return fmt::format(R"(
  input text: {3} in 0..{0}
  input next: i32[rows, {2}] in 0..{0}
  input g: f32[rows, {2}, {1}]
  input h: f32[rows, {2}]
  param table: f32[{0}, {1}]
  d[v in 0..{0}, e in 0..{1}]: f32 = sum(b in 0..rows, t in 0..{2} where {4}: {5})
  d2[v in 0..{0}, e in 0..{1}]: f32 = sum(b in 0..rows, t in 0..{2} where next[b, t] == v: h[b, t])
  new[v in 0..{0}, e in 0..{1}]: f32 = table[v, e] - 0.5 * d[v, e] - d2[v, e]
  table <- new
)",
                     values, width, places, input, where, term);
}

TEST(SegmentSchedule, IsChosenByTheNumberOfValues) {
  auto text = [](int64_t values, const std::string& input = "i32[rows, 5]",
                 const std::string& where = "text[b, t] == v") {
    return print(scheduled(update(values, 16, 5, input, where, "g[b, t, e]")));
  };
  EXPECT_THAT(text(32), Not(HasSubstr("segment")));
  EXPECT_THAT(text(33), HasSubstr("segment text by v"));
  EXPECT_THAT(text(33), HasSubstr("segment next by v"));
  EXPECT_THAT(text(33), HasSubstr("derived text.starts: i32[34] = starts of text"));
  EXPECT_THAT(text(33, "u8[rows, 5]"), HasSubstr("segment text by v"));
  // Not the place itself, or not only an equation.
  EXPECT_THAT(text(33, "i32[rows, 5]", "text[b, 4 - t] == v"), Not(HasSubstr("segment text")));
  EXPECT_THAT(text(33, "i32[rows, 5]", "text[b, t] <= v"), Not(HasSubstr("segment text")));
}

TEST(SegmentSchedule, ComputedIndicesAreCompared) {
  const std::string text = print(scheduled(R"(
  input text: i32[rows, 5] in 0..50
  input g: f32[rows, 5]
  param table: f32[50]
  twice[b in 0..rows, t in 0..5]: i32 = text[b, t] * 2 % 50
  d[v in 0..50]: f32 = sum(b in 0..rows, t in 0..5 where twice[b, t] == v: g[b, t])
  new[v in 0..50]: f32 = table[v] - d[v]
  table <- new
)"));
  EXPECT_THAT(text, Not(HasSubstr("segment")));
}

struct Case {
  int64_t values;
  int64_t width;
  int64_t places;
  const char* input;
  const char* where;
  const char* term;
  int spread;  ///< values that occur: 0 one only, 1 some, 2 all
};

/// What a failing test shows; without it, the bytes of pointers.
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.values << " values, " << c.input << ", where " << c.where << ": " << c.term;
}

class SegmentBits : public testing::TestWithParam<Case> {};

/// The table after a step of `rows` rows, run in `pieces`.
std::vector<std::byte> table_after(const LoopProgram& loops, const Case& c, int64_t rows,
                                   int64_t pieces) {
  OwnedLoopMemory memory(loops, loops.batch + 2);
  uint32_t state = 7;
  auto next = [&] { return (state = state * 1664525U + 1013904223U) >> 8; };
  const float special[] = {std::numeric_limits<float>::quiet_NaN(),
                           std::numeric_limits<float>::infinity(), -0.0F, 0.0F};
  for (const char* name : {"g", "h", "table"}) {
    for (float& element : memory.elements<float>(name)) {
      element =
          next() % 40 == 0 ? special[next() % 4] : static_cast<float>(next() % 2001) / 999.0F - 1;
    }
  }
  for (const char* name : {"text", "next"}) {
    const Buffer& buffer = *loops.find_buffer(name);
    for (int64_t i = 0; i < (loops.batch + 2) * c.places; ++i) {
      const auto value = static_cast<int32_t>(
          c.spread == 0 ? c.values - 1 : next() % (c.spread == 1 ? (c.values + 1) / 2 : c.values));
      if (buffer.type == ScalarType::u8) {
        memory.elements<uint8_t>(name)[static_cast<size_t>(i)] = static_cast<uint8_t>(value);
      } else {
        memory.elements<int32_t>(name)[static_cast<size_t>(i)] = value;
      }
    }
  }
  for (size_t b = 0; b < memory.row_list().size(); ++b) {
    memory.row_list()[b] = static_cast<int32_t>(memory.row_list().size() + 1 - b);
  }
  const Status ran = evaluate(loops, memory.view(), LoopUniforms{rows, 1, 0, 0, 0},
                              LoopOrder{pieces, pieces == 3});
  EXPECT_TRUE(ran) << (ran ? "" : ran.error().message);
  const std::span<std::byte> bytes = memory.bytes("table");
  return {bytes.begin(), bytes.end()};
}

TEST_P(SegmentBits, AreThoseOfComparing) {
  const Case& c = GetParam();
  ScheduleOptions always;
  always.most_compared_values = 0;
  KernelProgram program =
      scheduled(update(c.values, c.width, c.places, c.input, c.where, c.term), always);
  EXPECT_THAT(print(program), HasSubstr("segment text by v"));
  const LoopProgram segments = expand_functions(lower_to_loops(program));
  for (Launch& launch : program.launches) {
    for (Kernel& kernel : launch.kernels) {
      std::erase_if(kernel.schedule, [](const ScheduleAttribute& attribute) {
        return attribute.kind == ScheduleAttribute::Kind::segment;
      });
    }
  }
  const LoopProgram compares = expand_functions(lower_to_loops(program));
  EXPECT_THAT(verify(segments, true), IsEmpty()) << print(segments);
  EXPECT_THAT(verify(compares, true), IsEmpty());
  for (int64_t rows : {6, 4, 1}) {
    const std::vector<std::byte> expected = table_after(compares, c, rows, 1);
    EXPECT_EQ(table_after(segments, c, rows, 1), expected) << rows;
    EXPECT_EQ(table_after(segments, c, rows, 3), expected) << rows;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SegmentBits,
    testing::Values(Case{1, 8, 5, "i32[rows, 5]", "text[b, t] == v", "g[b, t, e]", 2},
                    Case{7, 1, 3, "i32[rows, 3]", "text[b, t] == v", "g[b, t, e]", 2},
                    Case{37, 16, 11, "i32[rows, 11]", "text[b, t] == v", "g[b, t, e]", 1},
                    Case{37, 13, 11, "u8[rows, 11]", "v == text[b, t]", "g[b, t, e] * h[b, t]", 2},
                    Case{101, 64, 17, "i32[rows, 17]", "text[b, t] == v", "g[b, t, e] * h[b, t]",
                         0},
                    Case{40, 9, 7, "i32[rows, 7]", "t > 2 and text[b, t] == v and e < 5",
                         "g[b, t, e] + 1.0", 2},
                    Case{53, 24, 1, "i32[rows, 1]", "text[b, t] == v and h[b, t] > 0.0",
                         "exp(g[b, t, e])", 2}));

}  // namespace
}  // namespace fusegrad::ir
