// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which functions of a program are equal up to names, and which differ in something that code
// depends on.
#include "ir/loop/equal_functions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ir/loop/parse.h"
#include "ir/support/diagnostics.h"

namespace fusegrad::ir {
namespace {

using ::testing::ElementsAre;

/// Two functions in a program with some buffers; the temporaries s and t overlap, u lies apart.
LoopProgram two(const std::string& first, const std::string& second) {
  SourceManager sources;
  Diagnostics diagnostics;
  const uint32_t file = sources.add("two",
                                    "stage loops\n\nprogram train batch 4 {\n"
                                    "  input x: f32[rows, 8]\n"
                                    "  param v: f32[8]\n"
                                    "  param w: f32[8]\n"
                                    "  param big: f32[16]\n"
                                    "  param n: i32[8]\n"
                                    "  buffer s: f32[8] at 0\n"
                                    "  buffer t: f32[8] at 0\n"
                                    "  buffer u: f32[8] at 64\n"
                                    "  arena 128\n" +
                                        first + second + "  launch { f }\n  launch { g }\n}\n");
  auto module = parse_loop_module(sources, file, diagnostics);
  EXPECT_TRUE(module) << render(diagnostics, sources);
  return module ? module->programs.front() : LoopProgram{};
}

bool are_equal(const std::string& first, const std::string& second) {
  const LoopProgram program = two(first, second);
  return program.functions.size() == 2 && equal_functions(program)[1].first == 0;
}

/// w[i] = v[i] * factor, with the names of parameters and of the index as given.
std::string scale(const std::string& name, const std::string& to, const std::string& from,
                  const std::string& index = "i", const std::string& factor = "2.0",
                  const std::string& tasks = "8 tile 8") {
  return "  func " + name + "(" + from + ": ptr<f32>[8], mutable " + to + ": ptr<f32>[8]) tasks(" +
         tasks + ") {\n    for " + index + " = 0 to 8 step 1 {\n      let value_of_" + index +
         " = load " + from + "[" + index + "] * " + factor + "\n      store " + to + "[" + index +
         "] = value_of_" + index + "\n    }\n  }\n";
}

TEST(EqualFunctions, NamesAndNumbersOfTasksDoNotMatter) {
  EXPECT_TRUE(are_equal(scale("f", "w", "v"), scale("g", "v", "w")));
  EXPECT_TRUE(are_equal(scale("f", "w", "v"), scale("g", "s", "w", "k")));
  EXPECT_TRUE(are_equal(scale("f", "w", "v"), scale("g", "v", "w", "i", "2.0", "8 tile 1")));
}

TEST(EqualFunctions, ParametersAreMatchedByTheirUse) {
  const std::string other_order =
      "  func g(mutable v: ptr<f32>[8], w: ptr<f32>[8]) tasks(8 tile 8) {\n"
      "    for i = 0 to 8 step 1 {\n      let y = load w[i] * 2.0\n      store v[i] = y\n    }\n  "
      "}\n";
  const LoopProgram program = two(scale("f", "w", "v"), other_order);
  const std::vector<EqualFunction> equal = equal_functions(program);
  EXPECT_EQ(equal.at(0).first, 0U);
  EXPECT_THAT(equal.at(0).parameters, ElementsAre(0, 1));
  EXPECT_EQ(equal.at(1).first, 0U);
  EXPECT_THAT(equal.at(1).parameters, ElementsAre(1, 0));
}

TEST(EqualFunctions, CodeDiffersWhereConstantsDo) {
  EXPECT_FALSE(are_equal(scale("f", "w", "v"), scale("g", "v", "w", "i", "2.5")));
  EXPECT_FALSE(are_equal(scale("f", "w", "v", "i", "0.0"), scale("g", "v", "w", "i", "-0.0")));
}

TEST(EqualFunctions, SizesTypesAndInputsMatter) {
  auto copy = [](const std::string& name, const std::string& from, const std::string& type) {
    return "  func " + name + "(" + from + ": ptr<" + type +
           ", mutable w: ptr<f32>[8]) tasks(8 tile 8) {\n    store w[0] = f32(load " + from +
           "[0])\n  }\n";
  };
  EXPECT_TRUE(are_equal(copy("f", "v", "f32>[8]"), copy("g", "u", "f32>[8]")));
  EXPECT_FALSE(are_equal(copy("f", "v", "f32>[8]"), copy("g", "big", "f32>[16]")));
  EXPECT_FALSE(are_equal(copy("f", "v", "f32>[8]"), copy("g", "n", "i32>[8]")));
  EXPECT_FALSE(are_equal(copy("f", "v", "f32>[8]"), copy("g", "x", "f32>")));
}

TEST(EqualFunctions, SharedMemoryMatters) {
  // s and t lie in the same bytes, s and u do not: code that may reorder the latter's accesses must
  // not serve the former.
  EXPECT_TRUE(are_equal(scale("f", "s", "u"), scale("g", "u", "t")));
  EXPECT_FALSE(are_equal(scale("f", "s", "u"), scale("g", "s", "t")));
  EXPECT_FALSE(are_equal(scale("f", "s", "t"), scale("g", "w", "v")));
}

TEST(EqualFunctions, OneNameForTwoParametersMatters) {
  auto sum = [](const std::string& name, const std::string& a, const std::string& b) {
    return "  func " + name + "(v: ptr<f32>[8], w: ptr<f32>[8], mutable u: ptr<f32>[8]) " +
           "tasks(8 tile 8) {\n    store u[0] = load " + a + "[0] + load " + b + "[0]\n  }\n";
  };
  EXPECT_TRUE(are_equal(sum("f", "v", "w"), sum("g", "w", "v")));
  EXPECT_FALSE(are_equal(sum("f", "v", "w"), sum("g", "v", "v")));
}

}  // namespace
}  // namespace fusegrad::ir
