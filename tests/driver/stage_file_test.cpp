// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stage files with mistakes, given to `train --from` and `opt`: each is refused at its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const char* const model = "examples/fashion-softmax/model.fg";

/// The model's stage, with the first `from` replaced.
std::string edited(const std::string& stage, const std::string& from, const std::string& to) {
  std::string text = run_tool({"emit", repository_path(model), "--stage=" + stage}).output;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in\n" << text;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// What `train --from` says; the data are made up, so that only the stage is in its way.
ToolRun train_from(const std::string& text, const std::string& name) {
  const std::string folder = make_folder(name);
  write_small_images(folder);
  write_file(folder + "/stage.txt", text);
  return run_tool({"train", repository_path("tests/driver/programs/renamed.fg"), "--data", folder,
                   "--from", folder + "/stage.txt"});
}

TEST(StageFile, AScheduleThatAKernelCannotHave) {
  const std::string text =
      "stage kernels\n"
      "program eval batch 16 {\n"
      "  param w: f32[64]\n"
      "  result y: f32[64]\n"
      "  launch {\n"
      "    kernel k0_y rows(i in 0..64) schedule(vector i 8) {\n"
      "      out y[i]: f32 = w[i] + 1.0\n"
      "    }\n"
      "  }\n"
      "  result output y = y\n"
      "}\n";
  const ToolRun run = run_tool({"opt", "--passes=lower", "-"}, text);
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_EQ(run.errors,
            "error[E0904]: program eval: `vector i 8` of kernel k0_y does not divide the tile of "
            "`i`, which is 1\n"
            " --> <stdin>:6:12\n"
            "  |\n"
            "6 |     kernel k0_y rows(i in 0..64) schedule(vector i 8) {\n"
            "  |            ^^^^\n");
}

TEST(StageFile, AReadOutsideOfATensor) {
  const ToolRun run =
      run_tool({"opt", "--passes=group", "-"}, edited("tensor.opt", "label[p]]", "label[p] + 1]"));
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.errors, AllOf(HasSubstr("error[E0904]: program "), HasSubstr("<stdin>:"),
                                HasSubstr("cross_entropy.nll[p in 0..rows]"), HasSubstr("^^^")));
}

TEST(StageFile, AFunctionThatLeavesItsMemory) {
  const ToolRun run =
      run_tool({"opt", "-"}, edited("loops", "dense.w[i_vector * 80]", "dense.w[i_vector * 8000]"));
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.errors, AllOf(HasSubstr("error[E0904]: program "), HasSubstr("<stdin>:"),
                                HasSubstr("func k0_"), HasSubstr("^^^")));
}

TEST(StageFile, ProgramsOfAnotherModel) {
  const ToolRun run = train_from(
      "stage kernels\n"
      "program init batch 16 {\n}\n",
      "other");
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.errors, AllOf(HasSubstr("error[E0904]: program `train` is missing"),
                                HasSubstr("stage.txt:1:1"), Not(HasSubstr("internal error"))));
}

TEST(StageFile, InputsThatTheModelDeclaresOtherwise) {
  const std::string renamed = repository_path("tests/driver/programs/renamed.fg");
  for (const char* stage : {"tensor.opt", "kernels", "loops"}) {
    std::string text = run_tool({"emit", renamed, std::string("--stage=") + stage}).output;
    // All programs, so that only the model disagrees.
    for (size_t at = text.find(": u8[rows, 28, 28]"); at != std::string::npos;
         at = text.find(": u8[rows, 28, 28]", at)) {
      text.replace(at, 18, ": u8[rows, 27, 28]");
    }
    const ToolRun run = train_from(text, std::string("inputs.") + stage);
    EXPECT_EQ(run.exit_code, 3) << run.output << run.errors;
    EXPECT_THAT(run.errors, AllOf(HasSubstr("error[E0904]: "), HasSubstr("stage.txt:")));
  }
}

}  // namespace
}  // namespace fusegrad::test
