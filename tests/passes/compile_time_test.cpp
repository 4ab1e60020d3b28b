// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Work grows with the program and not with its square. Ratios of times on one machine, with room
// for noise: a step that is quadratic takes sixteen times as long for four times the statements.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "ir/loop/equal_functions.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "ir/support/diagnostics.h"
#include "ir/tensor/parse.h"

namespace fusegrad::ir {
namespace {

TensorProgram program_of(const std::string& text) {
  SourceManager sources;
  Diagnostics diagnostics;
  auto parsed =
      parse_tensor_module(sources, sources.add("program", "stage tensor\n\n" + text), diagnostics);
  EXPECT_TRUE(parsed) << render(diagnostics, sources);
  return parsed ? parsed->module.programs.front() : TensorProgram{};
}

/// A chain of maps and contractions.
TensorProgram chain(int layers) {
  std::string text = "program train batch 4 {\n  input x: f32[rows, 8]\n";
  for (int i = 0; i < layers; ++i) text += fmt::format("  param w{}: f32[8, 8]\n", i);
  std::string last = "x";
  for (int i = 0; i < layers; ++i) {
    text += fmt::format(
        "  s{0}[b in 0..rows, o in 0..8]: f32 = sum(i in 0..8: {1}[b, i] * w{0}[i, o])\n"
        "  t{0}[b in 0..rows, o in 0..8]: f32 = s{0}[b, o] * 0.5\n"
        "  h{0}[b in 0..rows, o in 0..8]: f32 = tanh(t{0}[b, o])\n",
        i, last);
    last = fmt::format("h{}", i);
  }
  text += fmt::format("  loss: f32 = sum(b in 0..rows, o in 0..8: {}[b, o])\n", last);
  text += "  result loss = loss\n}\n";
  return program_of(text);
}

/// A chain of maps alone.
TensorProgram chain_of_maps(int maps) {
  std::string text = "program train batch 4 {\n  input x: f32[rows, 8]\n";
  std::string last = "x";
  for (int i = 0; i < maps; ++i) {
    text +=
        fmt::format("  h{0}[b in 0..rows, o in 0..8]: f32 = tanh({1}[b, o]) + x[b, o]\n", i, last);
    last = fmt::format("h{}", i);
  }
  return program_of(text + fmt::format("  loss: f32 = sum(b in 0..rows, o in 0..8: {}[b, o])\n"
                                       "  result loss = loss\n}}\n",
                                       last));
}

/// Many parameters side by side, whose products are added up by a tree.
TensorProgram wide(int parameters) {
  std::string text = "program train batch 4 {\n  input x: f32[rows, 8]\n";
  std::vector<std::string> names;
  for (int i = 0; i < parameters; ++i) text += fmt::format("  param w{}: f32[8, 8]\n", i);
  for (int i = 0; i < parameters; ++i) {
    text += fmt::format(
        "  s{0}[b in 0..rows, o in 0..8]: f32 = sum(i in 0..8: x[b, i] * w{0}[i, o])\n", i);
    names.push_back(fmt::format("s{}", i));
  }
  for (size_t i = 0; i + 1 < names.size(); i += 2) {
    text += fmt::format("  a{}[b in 0..rows, o in 0..8]: f32 = {}[b, o] + {}[b, o]\n", i, names[i],
                        names[i + 1]);
    names.push_back(fmt::format("a{}", i));
  }
  return program_of(text + fmt::format("  loss: f32 = sum(b in 0..rows, o in 0..8: {}[b, o])\n"
                                       "  result loss = loss\n}}\n",
                                       names.back()));
}

/// All passes from T to verified loops, without and with the gradient.
double seconds_once(const TensorProgram& program) {
  const auto begin = std::chrono::steady_clock::now();
  auto differentiated = differentiate(program);
  EXPECT_TRUE(differentiated);
  for (const TensorProgram& each : std::vector<TensorProgram>{program, *differentiated}) {
    const TensorProgram simple = simplify(each);
    const KernelModule scheduled = schedule(KernelModule{{group(simple)}});
    const KernelProgram kernels = plan_memory(scheduled.programs.front());
    EXPECT_FALSE(kernels.launches.empty());
    const LoopProgram loops = expand_functions(lower_to_loops(kernels));
    EXPECT_TRUE(verify(loops, true).empty());
    EXPECT_EQ(equal_functions(loops).size(), loops.functions.size());
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Ratio of the best times for `size` and four times `size` parts.
template <typename Program>
void expect_growth(Program program, int size) {
  const TensorProgram small = program(size);
  const TensorProgram large = program(4 * size);
  double small_seconds = 1e9;
  double large_seconds = 1e9;
  for (int attempt = 0; attempt < 3; ++attempt) {
    small_seconds = std::min(small_seconds, seconds_once(small));
    large_seconds = std::min(large_seconds, seconds_once(large));
    if (large_seconds / small_seconds < 7) break;
  }
  EXPECT_LT(large_seconds / small_seconds, 10) << small_seconds << " s, " << large_seconds << " s";
}

TEST(CompileTime, ChainOfLayersGrowsWithTheProgramAndNotItsSquare) { expect_growth(chain, 100); }
TEST(CompileTime, ChainOfMapsGrowsWithTheProgramAndNotItsSquare) {
  expect_growth(chain_of_maps, 250);
}
TEST(CompileTime, WideProgramGrowsWithTheProgramAndNotItsSquare) { expect_growth(wide, 100); }

}  // namespace
}  // namespace fusegrad::ir
