// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Layers of the same widths are compiled once: forward, backward and update.
#include <gtest/gtest.h>

#include <string>

#include "driver/compile.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

/// A model of equal blocks between a first and a last layer.
std::string model_of(int blocks) {
  std::string text =
      "model tower {\n  input x: f32[B, 24]\n  input t: f32[B, 3]\n  h = tanh(dense(x, 40))\n";
  for (int i = 0; i < blocks; ++i) text += "  h = tanh(dense(h, 40))\n";
  return text +
         "  y = dense(h, 3)\n  loss = mean(b: sum(i: (y[b, i] - t[b, i]) ^ 2))\n}\n"
         "train {\n  batch = 64\n  optimizer = sgd(lr = 0.01)\n}\n";
}

struct Counts {
  size_t kernels = 0;
  size_t bodies = 0;  ///< functions that are more than a call of a shared one
};

size_t count(const std::string& text, const std::string& word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

/// Of the program `train`.
Counts compiled(int blocks) {
  const std::string path = make_folder("model") + "/tower.fg";
  write_file(path, model_of(blocks));
  driver::CompileRequest request;
  request.model_path = path;
  request.elaborate.needs_epochs = false;
  request.elaborate.needs_data = false;
  request.keep_llvm_text = true;
  request.verify_each = true;
  driver::Messages messages;
  auto compilation = driver::compile(request, messages);
  EXPECT_TRUE(compilation);
  Counts counts;
  if (!compilation) return counts;
  for (size_t i = 0; i < compilation->loops.programs.size(); ++i) {
    if (compilation->loops.programs[i].name != "train") continue;
    counts.kernels = compilation->loops.programs[i].functions.size();
    const std::string& text = compilation->code.programs.at(i).llvm_text();
    EXPECT_EQ(count(text, "\ndefine void @"), counts.kernels);
    const size_t calls = count(text, "call void @");
    counts.bodies = counts.kernels - calls + count(text, "\ndefine internal void @");
    const std::string assembly = compilation->code.programs.at(i).assembly();
    EXPECT_EQ(count(assembly, "\tcall\t"), calls);
    EXPECT_EQ(count(assembly, "_shared:\n"), count(text, "\ndefine internal void @"));
  }
  return counts;
}

TEST(SharedKernels, EqualLayersAreCompiledOnce) {
  const Counts four = compiled(4);
  const Counts eight = compiled(8);
  // Every block has kernels of its own, forward and backward; what the blocks
  // in the middle need was compiled for four of them already.
  EXPECT_GE(eight.kernels, four.kernels + 4 * 2);
  EXPECT_EQ(eight.bodies, four.bodies);
  EXPECT_LT(four.bodies, four.kernels);
}

}  // namespace
}  // namespace fusegrad::test
