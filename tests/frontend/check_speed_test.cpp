// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How long `fusegrad check` thinks about a long file, differentiation aside. The bound is generous:
// tests run on busy machines and with sanitizers; the figure is printed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <string>

#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

/// A model of a thousand lines: layers of its own, functions, and calls of all of them.
std::string long_model() {
  std::string text;
  std::string body = "model long {\n  input x: f32[B, 32]\n  h = x\n";
  for (int i = 0; i < 90; ++i) {
    text += fmt::format(
        "# Part {0}: a layer with a gate.\n"
        "fn bend{0}(v, s = 0.{0:02}) = if v > s then v else s * tanh(v)\n"
        "layer gate{0}(x: real[N, K], O: dim) -> y: real[N, O] {{\n"
        "  param w: real[K, O] = glorot_uniform(K, O)\n"
        "  param c: real[O] = 0 @nodecay\n"
        "  u[n, o] = sum(k: x[n, k] * w[k, o]) + c[o]\n"
        "  y[n, o] = bend{0}(u[n, o]) / (1 + max(j: abs(u[n, j])))\n"
        "}}\n\n",
        i);
    body += fmt::format("  h = gate{0}(h, {1})\n  h = h + bend{0}(h)\n", i, 16 + i % 16);
  }
  return text + body + "  loss = mean(square(h))\n}\n";
}

TEST(CheckSpeed, AThousandLines) {
  const std::string text = long_model();
  ASSERT_GE(std::count(text.begin(), text.end(), '\n'), 990);
  double best = 1e9;
  for (int round = 0; round < 3; ++round) {
    ElaborateOptions options;
    options.needs_train_block = false;
    const std::clock_t begin = std::clock();  // of this process: others do not count
    Elaborated result = elaborate_text(text, options);
    best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    ASSERT_TRUE(result.job) << result.messages();
  }
  fmt::print("{} lines parsed, elaborated and verified in {:.1f} ms\n",
             std::count(text.begin(), text.end(), '\n'), 1e3 * best);
  EXPECT_LT(best, 1.0);
}

}  // namespace
}  // namespace fusegrad::frontend
