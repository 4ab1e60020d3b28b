// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Trainers made by `fusegrad build`: they need nothing, have the tool's bits, and say what is
// wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>

#include "tests/driver/program.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string renamed_model() { return repository_path("tests/driver/programs/renamed.fg"); }

/// Builds and returns the trainer's path.
std::string build_trainer(const std::string& folder, const std::string& model,
                          const std::vector<std::string>& more = {}) {
  std::string trainer = folder + "/trainer";
  std::vector<std::string> arguments = {"build", model, "--kind=exe", "-o", trainer};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(run.output + run.errors, "");
  return trainer;
}

struct Trained {
  ToolRun run;
  std::string weights;
};

/// Runs the tool's `train` (no trainer) or the trainer, with weights.
Trained train(const std::string& trainer, const std::string& data,
              std::vector<std::string> arguments) {
  const std::string path = data + "/weights.safetensors";
  std::filesystem::remove(path);
  arguments.insert(arguments.end(), {"--data", data, "--save", path});
  Trained trained;
  if (trainer.empty()) {
    arguments.insert(arguments.begin(), "train");
    trained.run = run_tool(arguments);
  } else {
    trained.run = run_program(trainer, arguments);
  }
  EXPECT_EQ(trained.run.exit_code, 0) << trained.run.errors;
  trained.weights = read_file(path);
  EXPECT_FALSE(trained.weights.empty());
  return trained;
}

std::string without_seconds(const std::string& text) {
  return std::regex_replace(text, std::regex("[0-9.]+ s\n"), "_ s\n");
}

TEST(Build, TrainersHaveTheToolsBitsAndLines) {
  const std::string data = make_folder("data");
  write_small_images(data);
  // 300 samples in batches of 128: the last one is short. One model has a state besides its weights
  // and draws random numbers.
  for (const char* name : {"renamed.fg", "dropout_mlp.fg", "batch_norm.fg"}) {
    SCOPED_TRACE(name);
    const std::string model = repository_path(std::string("tests/driver/programs/") + name);
    const std::vector<std::string> settings = {"--set", "last=keep", "--batch",
                                               "128",   "--epochs",  "2"};
    const std::string trainer = build_trainer(make_folder("built"), model, settings);
    std::vector<std::string> of_tool = settings;
    of_tool.insert(of_tool.begin(), model);
    const Trained wanted = train("", data, of_tool);
    for (const char* threads : {"1", "3"}) {
      const Trained found = train(trainer, data, {"--threads", threads});
      EXPECT_TRUE(found.weights == wanted.weights) << threads;
      EXPECT_EQ(without_seconds(found.run.output), without_seconds(wanted.run.output));
      EXPECT_EQ(found.run.errors, wanted.run.errors);
    }
    // Epochs and seed are chosen at run time.
    of_tool = {model, "--set", "last=keep", "--batch", "128", "--epochs", "3", "--seed", "11"};
    EXPECT_TRUE(train(trainer, data, {"--epochs=3", "--seed", "11", "-q"}).weights ==
                train("", data, of_tool).weights);
  }
}

TEST(Build, TheLearningRateIsChosenAtRunTime) {
  const std::string data = make_folder("data");
  write_small_images(data);
  // One is a number, one follows a schedule.
  for (const char* name : {"batch_norm.fg", "dropout_mlp.fg"}) {
    SCOPED_TRACE(name);
    const std::string model = repository_path(std::string("tests/driver/programs/") + name);
    const std::string trainer = build_trainer(make_folder("built"), model);
    const std::string as_built = train(trainer, data, {}).weights;
    EXPECT_TRUE(as_built == train("", data, {model}).weights);
    for (const char* rate : {"0.0125", "0.0001"}) {
      const std::string wanted = train("", data, {model, "--lr", rate}).weights;
      EXPECT_FALSE(as_built == wanted);
      for (const char* threads : {"1", "3"}) {
        EXPECT_TRUE(train(trainer, data, {"--lr", rate, "--threads", threads}).weights == wanted);
      }
      // Built with it is the same again.
      const std::string other = build_trainer(make_folder("other"), model, {"--lr", rate});
      EXPECT_TRUE(train(other, data, {}).weights == wanted);
      EXPECT_THAT(run_program(other, {"--help"}).output,
                  HasSubstr("`lr` argument (default: " + std::string(rate) + ")"));
    }
    for (const char* wrong : {"", "fast", "0.1x", "nan", "inf", "1e39"}) {
      const ToolRun run = run_program(trainer, {"--lr", wrong});
      EXPECT_EQ(run.exit_code, 2);
      EXPECT_THAT(run.errors, HasSubstr("--lr takes a number such as 0.01"));
    }
  }
}

TEST(Build, TrainersNeedLibcAndLibmOnlyAndAreSmall) {
  const std::string folder = make_folder("built");
  const std::string trainer =
      build_trainer(folder, repository_path("examples/fashion-softmax/model.fg"));
  EXPECT_LE(std::filesystem::file_size(trainer), uintmax_t{1} << 20);
  const ToolRun needed = run_program("/usr/bin/ldd", {trainer});
  ASSERT_EQ(needed.exit_code, 0) << needed.errors;
  for (const std::string_view library : {"libstdc++", "libgcc", "libz.", "libfmt", "LLVM"}) {
    EXPECT_THAT(needed.output, Not(HasSubstr(library)));
  }
  const std::string known =
      "(\\s*(linux-vdso|libc|libm|/lib64/ld-linux-x86-64|/lib/ld-linux-[a-z0-9_]+)"
      "\\.so[^\n]*\n)*";
  EXPECT_TRUE(std::regex_match(needed.output, std::regex(known))) << needed.output;
  // Nothing of the build is left beside it, and nothing of this machine's folders is in it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  EXPECT_THAT(read_file(trainer), Not(HasSubstr(repository_path("examples"))));
}

TEST(Build, TrainersExplainThemselves) {
  const std::string folder = make_folder("built");
  const std::string trainer = build_trainer(folder, renamed_model(), {"--epochs", "7"});
  const ToolRun help = run_program(trainer, {"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.errors, "");
  EXPECT_THAT(help.output, HasSubstr("Usage: " + trainer + " [OPTIONS]"));
  EXPECT_THAT(help.output, HasSubstr("passes over the training data (default: 7)"));
  EXPECT_THAT(help.output, HasSubstr("u8[28, 28]  idx(\"train-images-idx3-ubyte\")"));
  for (const char* option :
       {"--data DIR", "--seed N", "--threads N", "--save FILE", "--log-json FILE", "-q, --quiet"}) {
    EXPECT_THAT(help.output, HasSubstr(option));
  }
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{"--epoch", "3"}, 2, "unknown option `--epoch`, did you mean `--epochs`?"},
      {{"--epochs"}, 2, "--epochs needs a value"},
      {{"--epochs", "0"}, 2, "--epochs takes a number from 1 to"},
      {{"--epochs=3x"}, 2, "not `3x`"},
      {{"--threads=1025"}, 2, "--threads takes a number from 1 to 1024"},
      {{"--seed", "-1"}, 2, "--seed takes a number from 0"},
      {{"--quiet=1"}, 2, "--quiet takes no value"},
      {{"--save="}, 2, "--save is empty"},
      {{"model.fg"}, 2, "`model.fg` is no option"},
      {{"--batch", "5"}, 2, "`fusegrad build --batch` makes another"},
      {{"--lr=0.5"}, 2, "the optimizer of this trainer has no argument `lr`"},
      {{"--data", folder}, 4, "train-images-idx3-ubyte"},
      {{"--save", trainer}, 2, "would be written over"},
      {{"--log-json", trainer}, 2, "would be lost"},
  };
  for (const Case& wrong : cases) {
    const ToolRun run = run_program(trainer, wrong.arguments);
    EXPECT_EQ(run.exit_code, wrong.exit_code) << wrong.message << "\n" << run.errors;
    EXPECT_THAT(run.errors, HasSubstr("error: "));
    EXPECT_THAT(run.errors, HasSubstr(wrong.message));
    EXPECT_EQ(run.output, "");
  }
}

TEST(Build, DamagedTrainersSaySo) {
  const std::string folder = make_folder("built");
  const std::string trainer = build_trainer(folder, renamed_model());
  std::string bytes = read_file(trainer);
  const size_t job = bytes.find(std::string("FGTR\1\0\0\0", 8));
  ASSERT_NE(job, std::string::npos);
  for (const size_t offset : {size_t{0}, size_t{4}, size_t{13}, size_t{40}, size_t{300}}) {
    std::string damaged = bytes;
    damaged[job + offset] = static_cast<char>(damaged[job + offset] ^ 4);
    write_file(trainer, damaged);
    const ToolRun run = run_program(trainer, {});
    // Without its first byte the job is searched for in vain; that is damage too.
    EXPECT_EQ(run.exit_code, 5) << offset;
    EXPECT_THAT(run.errors, HasSubstr("damaged")) << offset;
  }
}

TEST(Build, SeveralProcessorsInOneFile) {
  const std::string data = make_folder("data");
  write_small_images(data);
  const std::string wanted = train("", data, {renamed_model()}).weights;
  for (const char* targets : {"x86-64", "native", "x86-64,x86-64-v2,native"}) {
    const std::string trainer = build_trainer(make_folder("built"), renamed_model(),
                                              {std::string("--target-cpu=") + targets});
    EXPECT_TRUE(train(trainer, data, {}).weights == wanted) << targets;
  }
}

TEST(Build, WhatIsMissingIsSaidAndNothingIsLeft) {
  const std::string folder = make_folder("built");
  const std::vector<std::string> arguments = {"build", renamed_model(), "-o", folder + "/trainer"};
  const std::string path = std::getenv("PATH");
  setenv("PATH", folder.c_str(), 1);
  ToolRun run = run_tool(arguments);
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(run.exit_code, 5);
  EXPECT_THAT(run.errors, HasSubstr("none of c++, g++ and clang++ is on PATH"));

  setenv("FUSEGRAD_RUNTIME_DIR", folder.c_str(), 1);
  run = run_tool(arguments);
  EXPECT_EQ(run.exit_code, 5);
  EXPECT_THAT(run.errors,
              HasSubstr("archive libfusegrad_core.a, which is not in `" + folder + "`"));
  write_file(folder + "/libfusegrad_core.a", "no archive");
  run = run_tool(arguments);
  unsetenv("FUSEGRAD_RUNTIME_DIR");
  EXPECT_EQ(run.exit_code, 5);
  EXPECT_THAT(run.errors, HasSubstr("could not link the trainer:\n"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);

  run = run_tool({"build", renamed_model(), "-o", folder + "/none/trainer"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, HasSubstr("cannot write `" + folder + "/none/trainer`"));
  run = run_tool({"build", renamed_model(), "-o", folder});
  EXPECT_EQ(run.exit_code, 2);
  run = run_tool({"build", renamed_model(), "-o", renamed_model()});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, HasSubstr("written over the model file"));
  run = run_tool({"build", renamed_model(), "-o", folder + "/t", "--target-cpu", "pentium"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, HasSubstr("`pentium` is not known here"));
}

}  // namespace
}  // namespace fusegrad::test
