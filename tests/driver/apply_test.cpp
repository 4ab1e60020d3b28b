// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// eval and predict, in the tool and in trainers: the numbers of training, for any number of rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/core/idx_reader.h"
#include "runtime/core/npy_reader.h"
#include "tests/driver/program.h"
#include "tests/driver/small_table.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// The program that does the work: the tool with a model, or a trainer.
struct Applier {
  std::string trainer;  ///< "" for the tool
  std::string model;

  ToolRun train(std::vector<std::string> arguments) const {
    if (!trainer.empty()) return run_program(trainer, arguments);
    arguments.insert(arguments.begin(), {"train", model});
    return run_tool(arguments);
  }
  ToolRun eval(std::vector<std::string> arguments) const {
    if (trainer.empty()) {
      arguments.insert(arguments.begin(), {"eval", model});
      return run_tool(arguments);
    }
    arguments.insert(arguments.begin(), "--eval-only");
    return run_program(trainer, arguments);
  }
  ToolRun predict(const std::string& output, std::vector<std::string> arguments) const {
    if (trainer.empty()) {
      arguments.insert(arguments.begin(), {"predict", model, "-o", output});
      return run_tool(arguments);
    }
    arguments.insert(arguments.begin(), {"--predict", output});
    return run_program(trainer, arguments);
  }
};

/// The tool and a trainer of the model.
std::vector<Applier> both(const std::string& model, const std::string& folder,
                          const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"build", model, "-o", folder + "/trainer"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ToolRun run = run_tool(arguments);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  return {{"", model}, {folder + "/trainer", model}};
}

std::vector<json> events(const std::string& path, const std::string& kind) {
  std::vector<json> result;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    json event = json::parse(line);
    if (event["event"] == kind) result.push_back(std::move(event));
  }
  return result;
}

TEST(Evaluation, IsTheValidationOfTraining) {
  const std::string folder = make_folder("run");
  write_small_table(folder);
  const std::vector<Applier> appliers = both(small_table_model(), folder);
  for (const Applier& applier : appliers) {
    std::filesystem::remove_all(folder + "/kept");
    const ToolRun run =
        applier.train({"--data", folder, "--epochs", "3", "--log-json", folder + "/log", "--save",
                       folder + "/w", "--checkpoint-dir", folder + "/kept"});
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    std::vector<json> epochs = events(folder + "/log", "epoch");
    ASSERT_EQ(epochs.size(), 3U);
    const json last = epochs.back();
    const json best = *std::min_element(epochs.begin(), epochs.end(), [](auto& a, auto& b) {
      return a["val_loss"].template get<double>() < b["val_loss"].template get<double>();
    });
    const auto expect = [&](const std::string& weights, const json& epoch) {
      for (const Applier& other : appliers) {
        for (const char* threads : {"1", "3"}) {
          const ToolRun judged =
              other.eval({"--weights", weights, "--data", folder, "--json", "--threads", threads});
          ASSERT_EQ(judged.exit_code, 0) << judged.errors;
          EXPECT_EQ(judged.errors, "");
          const json found = json::parse(judged.output);
          EXPECT_EQ(found["samples"], 23);
          EXPECT_EQ(found["loss"], epoch["val_loss"]);
          EXPECT_EQ(found["metrics"], epoch["val_metrics"]);
          EXPECT_EQ(found["metrics"].size(), 3U);
        }
      }
    };
    // A step is 7 batches an epoch; `patience` gives the weights of the best one.
    expect(folder + "/kept/step-00000021.safetensors", last);
    expect(folder + "/kept/best.safetensors", best);
    expect(folder + "/w", best);
  }
  for (const Applier& applier : appliers) {
    const ToolRun line =
        applier.eval({"--weights", folder + "/w", "--data", folder, "--split", "train"});
    EXPECT_EQ(line.exit_code, 0);
    EXPECT_THAT(line.output, AllOf(StartsWith("train  loss "), HasSubstr("  largest "),
                                   HasSubstr("  50 examples\n")));
  }
}

/// The softmax example over 77 small images, with batches of 32; weights after two epochs.
class Prediction : public testing::Test {
 protected:
  Prediction() : folder(make_folder("run")) {
    std::filesystem::create_directories(folder + "/fashion-mnist");
    write_small_images(folder + "/fashion-mnist");
    images = folder + "/fashion-mnist/t10k-images-idx3-ubyte";
    weights = folder + "/w";
    appliers =
        both(repository_path("examples/fashion-softmax/model.fg"), folder, {"--batch", "32"});
    const ToolRun run = run_program(appliers[1].trainer,
                                    {"--data", folder, "--epochs", "2", "--save", weights, "-q"});
    EXPECT_EQ(run.exit_code, 0) << run.errors;
  }

  static runtime::Column array(const std::string& path) {
    auto file = runtime::open_input(path);
    EXPECT_TRUE(file);
    auto read = path.ends_with(".npy") ? runtime::read_npy(*file) : runtime::read_idx(*file);
    EXPECT_TRUE(read) << path;
    return std::move(*read);
  }

  /// An IDX file of the first images.
  std::string first_images(uint32_t count) const {
    std::string bytes = read_file(images).substr(0, 16 + size_t{count} * 784);
    for (int i = 0; i < 4; ++i) bytes[4 + i] = static_cast<char>(count >> (24 - 8 * i));
    std::string path = folder + "/first";
    write_file(path, bytes);
    return path;
  }

  std::string folder;
  std::string images;
  std::string weights;
  std::vector<Applier> appliers;
};

TEST_F(Prediction, AgreesWithTheMetrics) {
  const ToolRun judged =
      appliers[0].eval({"--weights", weights, "--data", folder, "--json", "--batch", "32"});
  ASSERT_EQ(judged.exit_code, 0) << judged.errors;
  const json metrics = json::parse(judged.output);
  std::string expected;
  for (const Applier& applier : appliers) {
    const std::string output = folder + "/y.npy";
    const ToolRun run =
        applier.predict(output, {"--weights", weights, "--input", "image=" + images});
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_EQ(run.output + run.errors, "");
    if (expected.empty()) expected = read_file(output);
    EXPECT_TRUE(read_file(output) == expected);
  }
  const runtime::Column logits = array(folder + "/y.npy");
  const runtime::Column labels = array(folder + "/fashion-mnist/t10k-labels-idx1-ubyte");
  ASSERT_EQ(logits.shape, (std::vector<int64_t>{77, 10}));
  const auto* values = reinterpret_cast<const float*>(logits.bytes.data());
  double loss = 0;
  int right = 0;
  for (int row = 0; row < 77; ++row) {
    const float* of_row = values + ptrdiff_t{10} * row;
    const auto label = static_cast<int>(labels.bytes.data()[row]);
    right += std::max_element(of_row, of_row + 10) - of_row == label ? 1 : 0;
    double mass = 0;
    for (int k = 0; k < 10; ++k) mass += std::exp(static_cast<double>(of_row[k]));
    loss += std::log(mass) - static_cast<double>(of_row[label]);
  }
  EXPECT_NEAR(metrics["metrics"]["accuracy"].get<double>(), right / 77.0, 1e-6);
  EXPECT_NEAR(metrics["loss"].get<double>(), loss / 77, 1e-5);
  EXPECT_GT(right, 40);
}

TEST_F(Prediction, AnyNumberOfRowsGivesTheSameRows) {
  for (const Applier& applier : appliers) {
    ASSERT_EQ(applier
                  .predict(folder + "/all.npy",
                           {"--weights", weights, "--threads", "3", "--input", "image=" + images})
                  .exit_code,
              0);
    const runtime::Column all = array(folder + "/all.npy");
    for (const uint32_t rows : {1U, 31U, 32U, 33U, 64U, 77U}) {
      const ToolRun run = applier.predict(
          folder + "/y.npy",
          {"--weights", weights, "--threads", "1", "--input", "image=" + first_images(rows)});
      ASSERT_EQ(run.exit_code, 0) << run.errors;
      const runtime::Column some = array(folder + "/y.npy");
      ASSERT_EQ(some.shape, (std::vector<int64_t>{rows, 10}));
      EXPECT_EQ(std::memcmp(some.bytes.data(), all.bytes.data(), size_t{rows} * 40), 0) << rows;
    }
  }
}

TEST_F(Prediction, MistakesAreExplained) {
  const std::string labels = folder + "/fashion-mnist/t10k-labels-idx1-ubyte";
  const std::string y = folder + "/y.csv";
  const std::string image = "image=" + images;
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
    std::string output;
  };
  std::string bad_labels = read_file(labels);
  bad_labels[20] = 10;
  write_file(folder + "/bad", bad_labels);
  write_file(folder + "/cut", read_file(images).substr(0, 5000));
  const std::vector<Case> cases = {
      {{"--weights", weights}, 2, "input `image`, u8[28, 28] a record, is missing", y},
      {{"--weights", weights, "--input", "imag=" + images}, 2, "did you mean `image`?", y},
      {{"--weights", weights, "--input", images}, 2, "--input takes NAME=FILE", y},
      {{"--weights", weights, "--input", "image=" + labels}, 4, "the input wants u8[28, 28]", y},
      {{"--weights", weights, "--input", "image=" + folder + "/cut"}, 4, "cut", y},
      {{"--weights", weights, "--input", "image=" + folder + "/none"}, 4, "none", y},
      {{"--weights", weights, "--input", image, "--input", "label=" + folder + "/bad"},
       4,
       "outside 0..10",
       y},
      {{"--weights", weights, "--input", "image=" + first_images(5), "--input", "label=" + labels},
       4,
       "holds 5 records",
       y},
      {{"--weights", folder + "/none", "--input", image}, 7, "none", y},
      {{"--weights", images, "--input", image}, 7, "cannot use the weights", y},
      {{"--weights", weights, "--input", image}, 2, "files .npy, .npz or .csv", folder + "/y.txt"},
      {{"--weights", weights, "--input", image}, 2, "cannot write", folder + "/no/y.csv"},
  };
  for (const Case& wrong : cases) {
    for (const Applier& applier : appliers) {
      const ToolRun run = applier.predict(wrong.output, wrong.arguments);
      EXPECT_EQ(run.exit_code, wrong.exit_code) << wrong.message << "\n" << run.errors;
      EXPECT_THAT(run.errors, HasSubstr(wrong.message));
      EXPECT_FALSE(std::filesystem::exists(wrong.output));
    }
  }
  for (const Applier& applier : appliers) {
    // Labels are not needed and may be given.
    EXPECT_EQ(
        applier.predict(y, {"--weights", weights, "--input", image, "--input", "label=" + labels})
            .exit_code,
        0);
    ToolRun run = applier.eval({"--weights", weights, "--data", folder, "--split", "valid"});
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_THAT(run.errors, HasSubstr("there is no split `valid`; the data have test, train"));
  }
  const std::vector<std::pair<std::vector<std::string>, std::string>> of_trainers = {
      {{"--weights", weights}, "--weights belongs to"},
      {{"--eval-only"}, "need trained weights"},
      {{"--predict", y, "--input", image}, "need trained weights"},
      {{"--split", "test"}, "--split and --json belong to"},
      {{"--eval-only", "--weights", weights, "--input", image}, "--input belongs to"},
      {{"--predict", weights, "--weights", weights, "--input", image}, "files .npy"},
  };
  for (const auto& [arguments, message] : of_trainers) {
    const ToolRun run = run_program(appliers[1].trainer, arguments);
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_THAT(run.errors, HasSubstr(message));
  }
  // Weights of another model.
  const ToolRun run =
      run_tool({"eval", small_table_model(), "--weights", weights, "--data", folder});
  EXPECT_EQ(run.exit_code, 7);
  EXPECT_THAT(run.errors, AllOf(HasSubstr("the weights do not fit the model:"),
                                HasSubstr("dense.w"), HasSubstr("expected")));
}

TEST(PredictionFiles, SeveralOutputsAndNoData) {
  const std::string folder = make_folder("run");
  const std::string model = folder + "/two.fg";
  const std::string body =
      "model two {\n"
      "  input x: f32[B, 3]\n"
      "  input y: f32[B]\n"
      "  param w: real[3] = 0.5\n"
      "  z[b] = sum(i: x[b, i] * w[i])\n"
      "  twice[b, i in 0..2, j in 0..3] = z[b] * real(i + 1) + x[b, j]\n"
      "  loss = mean(b: (z[b] - y[b]) ^ 2)\n"
      "  output z\n"
      "  output twice\n"
      "}\n";
  write_file(model, body +
                        "data d { train { x = npy(\"x.npy\")  y = npy(\"y.npy\") } }\n"
                        "train { batch = 2  epochs = 1  optimizer = sgd(lr = 0.0) last = keep }\n");
  write_file(folder + "/x.csv", "a,b,c\n1,2,3\n4,5,6\n-1,0,2.5\n");
  const auto npy = [](const std::string& shape, const std::vector<float>& values) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
    header.resize(117, ' ');
    header += '\n';
    std::string bytes = std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header;
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    return bytes;
  };
  write_file(folder + "/x.npy", npy("3, 3", {1, 2, 3, 4, 5, 6, -1, 0, 2.5F}));
  write_file(folder + "/y.npy", npy("3,", {2, 3, 4}));
  ToolRun run = run_tool({"train", model, "--data", folder, "--save", folder + "/w"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  // Without a data block, too.
  write_file(model, body + "train { batch = 2 }\n");
  for (const char* input : {"x=x.csv", "x=x.npy"}) {
    const std::string path = std::string("x=") + folder + "/" + (input + 2);
    run = run_tool(
        {"predict", model, "--weights", folder + "/w", "--input", path, "-o", folder + "/p.csv"});
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_EQ(read_file(folder + "/p.csv"),
              "z,twice.0.0,twice.0.1,twice.0.2,twice.1.0,twice.1.1,twice.1.2\n"
              "3,4,5,6,7,8,9\n"
              "7.5,11.5,12.5,13.5,19,20,21\n"
              "0.75,-0.25,0.75,3.25,0.5,1.5,4\n");
  }
  run = run_tool({"predict", model, "--weights", folder + "/w", "--input", "x=" + folder + "/x.npy",
                  "-o", folder + "/p.npz"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  auto file = runtime::open_input(folder + "/p.npz");
  ASSERT_TRUE(file);
  auto twice = runtime::read_npz(*file, "twice");
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->shape, (std::vector<int64_t>{3, 2, 3}));
  run = run_tool({"predict", model, "--weights", folder + "/w", "--input", "x=" + folder + "/x.npy",
                  "-o", folder + "/p.npy"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, HasSubstr("the model has 2 outputs"));
  run = run_tool({"predict", model, "--weights", folder + "/w", "--input", "x=" + folder + "/x.csv",
                  "-o", folder + "/x.csv"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, HasSubstr("would be written over"));
}

}  // namespace
}  // namespace fusegrad::test
