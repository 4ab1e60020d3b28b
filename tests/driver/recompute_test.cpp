// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whole models with and without the pass `recompute`: the same weights bit for bit, from less
// memory.
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

std::string model(const std::string& name) {
  return repository_path("tests/driver/programs/" + name + ".fg");
}

/// The stage tensor.opt as it is without the pass.
std::string without_recompute(const std::string& file) {
  const ToolRun grad = run_tool({"emit", file, "--stage=tensor.grad"});
  EXPECT_EQ(grad.exit_code, 0) << grad.errors;
  const ToolRun simple = run_tool({"opt", "--passes=split-metrics,simplify", "-"}, grad.output);
  EXPECT_EQ(simple.exit_code, 0) << simple.errors;
  return simple.output;
}

struct Memory {
  long peak = 0;     ///< of the training step
  long written = 0;  ///< bytes of all its temporaries
};

/// From the comments of the text of kernels.
Memory memory_of(const std::string& tensor_text) {
  const ToolRun kernels =
      run_tool({"opt", "--passes=group,schedule,plan-memory", "-"}, tensor_text);
  EXPECT_EQ(kernels.exit_code, 0) << kernels.errors;
  Memory memory;
  std::istringstream text(kernels.output);
  bool in_train = false;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("program ")) in_train = line.starts_with("program train ");
    if (!in_train) continue;
    const std::string peak = "  # peak of the buffers in use: ";
    if (line.starts_with(peak)) memory.peak = std::atol(line.c_str() + peak.size());
    if (line.starts_with("  buffer "))
      memory.written += std::atol(line.c_str() + line.rfind("# ") + 2);
  }
  EXPECT_GT(memory.peak, 0);
  return memory;
}

std::string tensor_opt(const std::string& file) {
  const ToolRun run = run_tool({"emit", file, "--stage=tensor.opt"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  return run.output;
}

class Recompute : public testing::TestWithParam<const char*> {};

TEST_P(Recompute, LeavesEveryBitOfTheWeights) {
  const std::string folder = make_folder("data");
  write_small_images(folder);
  write_file(folder + "/plain.txt", without_recompute(model(GetParam())));
  std::string weights[2];
  for (const bool plain : {false, true}) {
    const std::string path = folder + (plain ? "/plain.safetensors" : "/ours.safetensors");
    std::vector<std::string> arguments = {"train", model(GetParam()), "--data", folder, "--save",
                                          path,    "--epochs",        "2"};
    if (plain) arguments.insert(arguments.end(), {"--from", folder + "/plain.txt"});
    const ToolRun run = run_tool(arguments);
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    weights[plain ? 1 : 0] = read_file(path);
  }
  EXPECT_GT(weights[0].size(), 10'000U);
  EXPECT_TRUE(weights[0] == weights[1]) << "other weights than without the pass";
}

TEST_P(Recompute, StoresLess) {
  const std::string ours = tensor_opt(model(GetParam()));
  const std::string plain = without_recompute(model(GetParam()));
  ASSERT_NE(ours, plain);
  const Memory with = memory_of(ours);
  const Memory without = memory_of(plain);
  EXPECT_LE(with.peak, without.peak);
  EXPECT_LT(with.written, without.written);
}

INSTANTIATE_TEST_SUITE_P(Models, Recompute, testing::Values("dropout_mlp", "lenet", "batch_norm"));

TEST(RecomputeOfOneLayer, HasNothingToDo) {
  const std::string file = repository_path("examples/fashion-softmax/model.fg");
  EXPECT_EQ(tensor_opt(file), without_recompute(file));
}

TEST(RecomputeOfBatchNorm, LowersThePeak) {
  // The normalised values, 401408 bytes, are not kept.
  EXPECT_LE(memory_of(tensor_opt(model("batch_norm"))).peak + 400'000,
            memory_of(without_recompute(model("batch_norm"))).peak);
}

TEST(RecomputeRemarks, SayWhatBecameOfEachTensor) {
  const ToolRun run = run_tool({"emit", model("lenet"), "--why", "--program=train"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_NE(run.output.find("train: conv2d.y for backward: not stored: backward only compares it, "
                            "and `max_pool2d.x` gives the same answers (library.fg:"),
            std::string::npos)
      << run.output;
  EXPECT_NE(run.output.find("train: h_2 for backward: stored: 21504 bytes"), std::string::npos);
  EXPECT_NE(run.output.find("train: dense_3.y for backward: not stored: backward reads it in the "
                            "kernel that makes it"),
            std::string::npos);
}

}  // namespace
}  // namespace fusegrad::test
