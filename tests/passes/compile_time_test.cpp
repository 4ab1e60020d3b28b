// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Work grows with the program and not with its square. Ratios of times on one machine, with room
// for noise: a step that is quadratic takes sixteen times as long for four times the statements.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "ir/passes/passes.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/diagnostics.h"
#include "ir/tensor/parse.h"

namespace fusegrad::ir {
namespace {

/// A chain of maps and contractions.
TensorProgram chain(int layers) {
  std::string text = "stage tensor\n\nprogram train batch 4 {\n  input x: f32[rows, 8]\n";
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
  SourceManager sources;
  Diagnostics diagnostics;
  auto parsed = parse_tensor_module(sources, sources.add("chain", text), diagnostics);
  EXPECT_TRUE(parsed);
  return parsed->module.programs.front();
}

double best_seconds(const TensorProgram& program) {
  double best = 1e9;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    const TensorProgram simple = simplify(program);
    const KernelModule scheduled = schedule(KernelModule{{group(simple)}});
    const KernelProgram kernels = plan_memory(scheduled.programs.front());
    EXPECT_FALSE(kernels.launches.empty());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::min(best, seconds.count());
  }
  return best;
}

TEST(CompileTime, GrowsWithTheProgramAndNotItsSquare) {
  const double small = best_seconds(chain(100));
  const double large = best_seconds(chain(400));
  EXPECT_LT(large / small, 13) << small << " s and " << large << " s";
}

}  // namespace
}  // namespace fusegrad::ir
