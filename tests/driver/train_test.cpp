// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training with the tool: same bits however it runs, stages that can be edited, clear ends.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

std::string renamed_model() { return repository_path("tests/driver/programs/renamed.fg"); }

std::string trained_weights(const std::string& model, const std::string& data,
                            const std::vector<std::string>& more) {
  std::string weights = data + "/weights.safetensors";
  std::vector<std::string> arguments = {"train", model, "--data", data, "--save", weights};
  arguments.insert(arguments.end(), more.begin(), more.end());
  ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  std::string bytes = read_file(weights);
  EXPECT_GT(bytes.size(), 784U * 10U * 4U);
  return bytes;
}

size_t occurrences(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST(Train, SameBitsForAnyNumberOfThreadsAndFromRunToRun) {
  std::string data = make_folder("data");
  write_small_images(data);
  // 300 samples: two full batches and one of 44.
  std::string one = trained_weights(renamed_model(), data, {"--threads", "1"});
  for (const char* threads : {"1", "2", "3", "8"}) {
    EXPECT_EQ(trained_weights(renamed_model(), data, {"--threads", threads}), one)
        << threads << " threads";
  }
  std::string keras = repository_path("examples/published-table/keras.fg");
  std::string shuffled =
      trained_weights(keras, data, {"--threads", "1", "--set", "shuffle=true", "--epochs", "3"});
  EXPECT_EQ(
      trained_weights(keras, data, {"--threads", "3", "--set", "shuffle=true", "--epochs", "3"}),
      shuffled);
  EXPECT_NE(trained_weights(keras, data, {"--set", "shuffle=true", "--epochs", "3", "--seed", "9"}),
            shuffled);
}

TEST(Train, LearnsTheSmallTask) {
  std::string data = make_folder("data");
  write_small_images(data);
  ToolRun run = run_tool(
      {"train", renamed_model(), "--data", data, "--epochs", "15", "--log-json", data + "/log"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(occurrences(run.output, "epoch "), 15U) << run.output;
  size_t last = run.output.rfind("val_hits ");
  ASSERT_NE(last, std::string::npos) << run.output;
  EXPECT_GT(std::atof(run.output.c_str() + last + 9), 0.95) << run.output;
  std::string log = read_file(data + "/log");
  EXPECT_EQ(occurrences(log, "{\"event\":\"epoch\""), 15U);
  EXPECT_EQ(occurrences(log, "{\"event\":\"compile\""), 3U);
  EXPECT_EQ(occurrences(log, "{\"event\":\"end\""), 1U);
}

TEST(Train, StepIsTwoLaunchesWhateverTheNames) {
  auto kernels = [](const std::string& path) {
    ToolRun run = run_tool({"emit", path, "--stage=kernels", "--program=train"});
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    return run.output;
  };
  for (const std::string& path :
       {repository_path("examples/published-table/tensorflow.fg"),
        repository_path("examples/published-table/keras.fg"), renamed_model()}) {
    std::string text = kernels(path);
    EXPECT_EQ(occurrences(text, "  launch {"), 2U) << text;
    EXPECT_EQ(occurrences(text, "inplace "), 2U)
        << text;  // weights and bias, updated where they lie
    EXPECT_EQ(occurrences(text, ": f32[784, 10] at"), 0U)
        << text;  // no gradient buffer for the weights
  }
}

TEST(Train, StartsFromAStageFileWithTheSameResult) {
  std::string data = make_folder("data");
  write_small_images(data);
  std::string direct = trained_weights(renamed_model(), data, {});
  for (const char* stage : {"tensor.opt", "kernels", "loops"}) {
    ToolRun emitted = run_tool({"emit", renamed_model(), std::string("--stage=") + stage});
    ASSERT_EQ(emitted.exit_code, 0) << emitted.errors;
    std::string path = data + "/" + stage;
    write_file(path, emitted.output);
    EXPECT_EQ(trained_weights(renamed_model(), data, {"--from", path}), direct) << stage;
    // Through `opt` without passes the text comes back as it was.
    ToolRun through = run_tool({"opt", path});
    EXPECT_EQ(through.exit_code, 0) << through.errors;
    EXPECT_EQ(through.output, emitted.output) << stage;
  }
}

TEST(Train, AnEditedStageChangesTheRun) {
  std::string data = make_folder("data");
  write_small_images(data);
  ToolRun emitted = run_tool({"emit", renamed_model(), "--stage=tensor.opt"});
  std::string text = emitted.output;
  // The update subtracts; an edit that makes it add must make the loss worse, and so change the
  // weights.
  size_t at = text.find("affine.kernel'[");
  ASSERT_NE(at, std::string::npos) << text;
  size_t minus = text.find(" - ", at);
  ASSERT_NE(minus, std::string::npos);
  text.replace(minus, 3, " + ");
  write_file(data + "/edited", text);
  EXPECT_NE(trained_weights(renamed_model(), data, {"--from", data + "/edited"}),
            trained_weights(renamed_model(), data, {}));
}

TEST(Train, EveryStagePrintsTheSameTwice) {
  for (const char* stage : {"ast", "tensor", "tensor.grad", "tensor.opt", "kernels", "loops",
                            "llvm", "llvm.opt", "asm"}) {
    ToolRun first = run_tool({"emit", renamed_model(), std::string("--stage=") + stage});
    ToolRun second = run_tool({"emit", renamed_model(), std::string("--stage=") + stage});
    EXPECT_EQ(first.exit_code, 0) << first.errors;
    EXPECT_FALSE(first.output.empty()) << stage;
    EXPECT_EQ(first.output, second.output) << stage;
  }
}

TEST(Train, DumpFolderHoldsEveryStageInOrder) {
  std::string folder = make_folder("dump");
  ToolRun run = run_tool({"emit", renamed_model(), "--dump-dir", folder});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  std::vector<std::string> expected = {"00-source.fg",       "10-ast.fg",         "20-tensor.txt",
                                       "21-tensor.grad.txt", "22-tensor.opt.txt", "30-kernels.txt",
                                       "31-fusion.txt",      "40-loops.txt",      "50-llvm.ll",
                                       "51-llvm.opt.ll",     "52-asm.s"};
  EXPECT_EQ(names, expected);
  EXPECT_NE(read_file(folder + "/31-fusion.txt").find(": not fused: "), std::string::npos);
}

TEST(Train, GradientsOfTheExamplesAgreeWithDifferences) {
  for (const std::string& path :
       {repository_path("examples/published-table/tensorflow.fg"),
        repository_path("examples/published-table/keras.fg"), renamed_model()}) {
    ToolRun run = run_tool({"grad-check", path});
    EXPECT_EQ(run.exit_code, 0) << run.output << run.errors;
    EXPECT_NE(run.output.find("worst relative error "), std::string::npos) << run.output;
  }
}

TEST(Train, AWrongDerivativeFailsTheGradientCheck) {
  std::string folder = make_folder("model");
  std::string text = read_file(renamed_model());
  // A derivative that is not one: `deriv!` says that it is meant, the check still tells.
  text.replace(text.find("cost[b]  = top[b]"), 17, "cost[b]  = odd(top[b])");
  text = "fn odd(x) = x * x deriv! x = 1\n" + text;
  text.replace(text.find("stop_gradient(max(c: score[b, c]))"), 34, "max(c: score[b, c])");
  write_file(folder + "/m.fg", text);
  ToolRun run = run_tool({"grad-check", folder + "/m.fg"});
  EXPECT_EQ(run.exit_code, 1) << run.output << run.errors;
}

// ---- Clear ends.

TEST(Ends, EachKindOfFailureHasItsExitCode) {
  std::string data = make_folder("data");
  write_small_images(data);
  EXPECT_EQ(run_tool({"train"}).exit_code, 2);
  EXPECT_EQ(run_tool({"no-such-command"}).exit_code, 2);
  ToolRun missing_model = run_tool({"train", data + "/none.fg"});
  EXPECT_EQ(missing_model.exit_code, 3);
  EXPECT_NE(missing_model.errors.find("none.fg"), std::string::npos) << missing_model.errors;
  ToolRun missing_data = run_tool({"train", renamed_model(), "--data", make_folder("empty")});
  EXPECT_EQ(missing_data.exit_code, 4);
  EXPECT_NE(missing_data.errors.find("renamed.fg:"), std::string::npos) << missing_data.errors;
  EXPECT_NE(missing_data.errors.find("train-images-idx3-ubyte"), std::string::npos)
      << missing_data.errors;
  ToolRun no_lr = run_tool({"train", renamed_model(), "--data", data, "--lr", "0.1"});
  EXPECT_EQ(no_lr.exit_code, 3) << no_lr.errors;  // its optimizer calls it `pace`
  ToolRun bad_stage =
      run_tool({"train", renamed_model(), "--data", data, "--from", renamed_model()});
  EXPECT_EQ(bad_stage.exit_code, 2) << bad_stage.errors;
  ToolRun folder = run_tool({"train", data});
  EXPECT_EQ(folder.exit_code, 3) << folder.errors;
}

TEST(Ends, ALabelOutsideItsRangeIsFoundBeforeTraining) {
  std::string data = make_folder("data");
  write_small_images(data);
  std::string labels = read_file(data + "/train-labels-idx1-ubyte");
  labels[8 + 17] = 10;
  write_file(data + "/train-labels-idx1-ubyte", labels);
  ToolRun run = run_tool({"train", renamed_model(), "--data", data});
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_NE(run.errors.find("E0702"), std::string::npos) << run.errors;
  EXPECT_NE(run.errors.find("17"), std::string::npos) << run.errors;
  EXPECT_EQ(run.output.find("epoch"), std::string::npos) << run.output;
}

TEST(Ends, ANonFiniteLossStopsWithinOneStep) {
  std::string data = make_folder("data");
  write_small_images(data);
  std::string weights = data + "/good.safetensors";
  write_file(weights, "good weights");
  ToolRun run = run_tool({"train", repository_path("examples/published-table/tensorflow.fg"),
                          "--data", data, "--lr", "1e38", "--save", weights});
  EXPECT_EQ(run.exit_code, 6) << run.output << run.errors;
  EXPECT_NE(run.errors.find("epoch 1"), std::string::npos) << run.errors;
  EXPECT_NE(run.errors.find("step"), std::string::npos) << run.errors;
  EXPECT_EQ(read_file(weights), "good weights");
}

TEST(Ends, WeightsThatCannotBeWrittenAreReported) {
  std::string data = make_folder("data");
  write_small_images(data);
  ToolRun run =
      run_tool({"train", renamed_model(), "--data", data, "--save", data + "/no/such/folder/w"});
  EXPECT_EQ(run.exit_code, 7) << run.errors;
  ToolRun full = run_tool({"train", renamed_model(), "--data", data, "--save", "/dev/full"});
  EXPECT_EQ(full.exit_code, 7) << full.errors;
}

TEST(Ends, HostileModelTextNeverCrashes) {
  std::string folder = make_folder("model");
  std::string parentheses(10000, '(');
  write_file(folder + "/deep.fg",
             "const A = " + parentheses + "1" + std::string(10000, ')') + "\n");
  std::string sum = "const A = 1";
  for (int i = 0; i < 200000; ++i) sum += " + 1";
  write_file(folder + "/long.fg", sum + "\n");
  for (const char* name : {"/deep.fg", "/long.fg"}) {
    ToolRun run = run_tool({"check", folder + name});
    EXPECT_EQ(run.exit_code, 3) << name << run.errors.substr(0, 2000);
    EXPECT_NE(run.errors.find("error[E"), std::string::npos) << name;
  }
}

TEST(Ends, ListShowsTheLibrary) {
  ToolRun run = run_tool({"list"});
  EXPECT_EQ(run.exit_code, 0);
  for (const char* name : {"dense(", "flatten(", "softmax(", "cross_entropy(", "squared_error(",
                           "sgd(", "momentum("}) {
    EXPECT_NE(run.output.find(name), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace fusegrad::test
