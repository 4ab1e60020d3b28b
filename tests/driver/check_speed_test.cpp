// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How much work `fusegrad check` is for a long file. Seconds say little on a busy machine, so the
// guard counts what is the same everywhere: requests for memory, of which nearly all of the time of
// these stages goes with. That they grow with the file and not with its square is checked as well.
// The seconds are printed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <string>

#include "driver/compile.h"
#include "tests/driver/allocations.h"
#include "tests/driver/tool.h"

namespace fusegrad::driver {
namespace {

/// A model of `layers` layers of its own with as many functions, ten lines each, and calls of all.
std::string long_model(int layers) {
  std::string text;
  std::string body = "model long {\n  input x: f32[B, 32]\n  h = x\n";
  for (int i = 0; i < layers; ++i) {
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

/// All that `fusegrad check` does, from the file to its messages.
void check(const std::string& path) {
  CompileRequest request;
  request.model_path = path;
  request.elaborate.needs_train_block = false;
  request.until = Stage::tensor_grad;
  Messages messages;
  const std::optional<Compilation> compilation = compile(request, messages);
  EXPECT_TRUE(compilation) << render(messages.diagnostics, messages.sources);
}

struct Cost {
  long allocations = 0;
  double seconds = 1e9;  ///< of this process, the best of several runs
};

Cost cost_of(const std::string& text, const std::string& path) {
  test::write_file(path, text);
  Cost cost;
  for (int round = 0; round < 5; ++round) {
    const long before = test::allocations();
    const std::clock_t begin = std::clock();
    check(path);
    cost.seconds =
        std::min(cost.seconds, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    cost.allocations = test::allocations() - before;
  }
  return cost;
}

TEST(CheckSpeed, AThousandLines) {
  const std::string text = long_model(90);
  const auto lines = std::count(text.begin(), text.end(), '\n');
  ASSERT_GE(lines, 990);
  const std::string folder = test::make_folder("check_speed");
  const Cost cost = cost_of(text, folder + "/long.fg");
  const Cost half = cost_of(long_model(45), folder + "/half.fg");
  fmt::print("{} lines are checked in {:.1f} ms, with {} requests for memory\n", lines,
             1e3 * cost.seconds, cost.allocations);
  if (!test::counts_allocations()) return;
  // The figure when this was written, and a little room. It is the same in every run.
  EXPECT_LT(cost.allocations, 260'000);
  EXPECT_GT(cost.allocations, 0);
  EXPECT_LT(static_cast<double>(cost.allocations), 2.1 * static_cast<double>(half.allocations));
}

}  // namespace
}  // namespace fusegrad::driver
