// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The whole run from files to weights: what is printed, logged and saved, and every way in which it
// ends.
#include "runtime/core/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/runtime/linear_job.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Train : public testing::Test {
 protected:
  Train() {
    write_data("train", LinearData(50));
    write_data("test", LinearData(20));
    settings.batch = 8;
    settings.epochs = 3;
    settings.seed = 1;
    settings.last = LastBatch::keep;
    options.search.data_dir = folder.path();
    options.threads = 2;
    options.save_path = folder / "w.safetensors";
    output = FileDescriptor(memfd_create("output", MFD_CLOEXEC));
    messages = FileDescriptor(memfd_create("messages", MFD_CLOEXEC));
    options.display.descriptor = output.number();
    options.display.messages_descriptor = messages.number();
  }

  void write_data(const std::string& split, const LinearData& data) {
    const auto samples = static_cast<uint32_t>(data.y.size());
    write_file(folder / (split + "-x.gz"), gzip(idx_f32({samples, linear_features}, data.x)));
    write_file(folder / (split + "-y"), idx_f32({samples}, data.y));
  }

  JobTable job() const {
    JobTable result = linear_job(settings, 50);
    result.data = {{"train", "x", "idx", "train-x"}, {"train", "y", "idx", "train-y"}};
    for (const std::string& split : more_splits) {
      result.data.push_back({split, "x", "idx", "test-x"});
      result.data.push_back({split, "y", "idx", "test-y"});
    }
    return result;
  }

  static std::string text_of(const FileDescriptor& file) {
    std::string result(65536, '\0');
    result.resize(static_cast<size_t>(read_at(file, 0, std::as_writable_bytes(std::span(result)))));
    return result;
  }

  /// Trains with a log and returns its events.
  std::vector<json> events() {
    Expected<JsonLog> log = JsonLog::open(folder / "log", {}, messages.number());
    EXPECT_TRUE(log);
    options.log = &*log;
    Expected<TrainOutcome> outcome = train(job(), options);
    options.log = nullptr;
    exit_code = outcome ? outcome->exit_code : outcome.error().exit_code;
    message = outcome ? "" : render(outcome.error());
    EXPECT_TRUE(log->close());
    std::vector<json> result;
    std::istringstream lines(file_content(folder / "log"));
    for (std::string line; std::getline(lines, line);) result.push_back(json::parse(line));
    return result;
  }

  TemporaryFolder folder;
  TrainSettings settings;
  std::vector<std::string> more_splits;
  TrainOptions options;
  FileDescriptor output;
  FileDescriptor messages;
  int exit_code = -1;
  std::string message;
};

TEST_F(Train, PrintsLogsAndSaves) {
  more_splits = {"test"};
  const std::vector<json> log = events();
  EXPECT_EQ(exit_code, 0) << message;
  ASSERT_EQ(log.size(), 4U);
  double before = 1e9;
  for (int epoch = 1; epoch <= 3; ++epoch) {
    const json& event = log[epoch - 1];
    EXPECT_EQ(event["event"], "epoch");
    EXPECT_EQ(event["epoch"], epoch);
    EXPECT_LT(event["loss"].get<double>(), before);
    before = event["loss"].get<double>();
    EXPECT_TRUE(event["metrics"]["near"].is_number());
    EXPECT_TRUE(event["val_loss"].is_number());
    EXPECT_TRUE(event["val_metrics"]["near"].is_number());
    EXPECT_GT(event["seconds"].get<double>(), 0);
  }
  EXPECT_EQ(log[3]["event"], "end");
  EXPECT_EQ(log[3]["exit_code"], 0);
  EXPECT_EQ(log[3]["epochs"], 3);
  EXPECT_EQ(log[3]["steps"], 21);
  EXPECT_EQ(log[3]["samples"], 150);
  const std::string lines = text_of(output);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 3);
  EXPECT_THAT(lines, testing::StartsWith("epoch 1/3  loss "));
  EXPECT_THAT(lines, HasSubstr("  val_near "));
  // The files chosen are named, apart from the result.
  EXPECT_THAT(text_of(messages),
              AllOf(HasSubstr("data  train.x  " + (folder / "train-x.gz") + "  f32[50, 5]\n"),
                    HasSubstr("data  test.y  " + (folder / "test-y") + "  f32[20]\n")));
  Expected<WeightsFile> weights = read_safetensors(options.save_path);
  ASSERT_TRUE(weights);
  EXPECT_EQ(weights->tensors.size(), 5U);
}

TEST_F(Train, WeightsAreTheSameForAnyThreadsAndEveryRun) {
  std::vector<std::string> files;
  for (const int threads : {1, 2, 3, 8, 2}) {
    options.threads = threads;
    ASSERT_TRUE(train(job(), options));
    files.push_back(file_content(options.save_path));
  }
  for (const std::string& file : files) EXPECT_EQ(file, files[0]);
  settings.seed = 2;
  ASSERT_TRUE(train(job(), options));
  EXPECT_NE(file_content(options.save_path), files[0]);
}

TEST_F(Train, ValidationIsValidElseTestElseNothing) {
  EXPECT_FALSE(events()[0].contains("val_loss"));
  more_splits = {"test"};
  EXPECT_TRUE(events()[0].contains("val_loss"));
  // A split that is not used is not even looked for.
  more_splits = {"valid"};
  JobTable both = job();
  both.data.push_back({"test", "x", "idx", "absent"});
  both.data.push_back({"test", "y", "idx", "absent"});
  EXPECT_THAT(needed_splits(both), ElementsAre("train", "valid"));
  Expected<TrainOutcome> outcome = train(both, options);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->epochs[0].validation_loss);
  both.programs.pop_back();  // no program eval
  outcome = train(both, options);
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->epochs[0].validation_loss);
}

TEST_F(Train, ANonFiniteLossEndsTheRunAndKeepsTheOldWeights) {
  write_file(options.save_path, "old weights");
  LinearData data(50);
  data.y[20] = NAN;
  settings.shuffle = false;
  write_data("train", data);
  const std::vector<json> log = events();
  EXPECT_EQ(exit_code, 6);
  EXPECT_EQ(message, "the loss is nan in epoch 1, step 3; training stopped\n");
  ASSERT_EQ(log.size(), 1U);
  EXPECT_EQ(log[0]["event"], "end");
  EXPECT_EQ(log[0]["exit_code"], 6);
  EXPECT_LE(log[0]["steps"].get<int>(), 4);
  EXPECT_EQ(file_content(options.save_path), "old weights");
}

TEST_F(Train, ANonFiniteLossInALaterEpochHasItsStep) {
  // Grows by a large factor each step until it overflows.
  LinearData data(50);
  for (float& value : data.x) value *= 1e8F;
  settings.epochs = 50;
  settings.batch = 25;
  write_data("train", data);
  events();
  EXPECT_EQ(exit_code, 6);
  EXPECT_THAT(message, HasSubstr("the loss is "));
  EXPECT_THAT(message, HasSubstr(", step "));
}

TEST_F(Train, AValidationLossThatIsNotFiniteIsSaid) {
  more_splits = {"test"};
  LinearData data(20);
  data.y[19] = INFINITY;
  write_data("test", data);
  const std::vector<json> log = events();
  EXPECT_EQ(exit_code, 6);
  EXPECT_EQ(message, "the validation loss is inf after epoch 1, step 7\n");
  ASSERT_EQ(log.size(), 2U);
  EXPECT_TRUE(log[0]["val_loss"].is_null());
  EXPECT_FALSE(std::filesystem::exists(options.save_path));
}

TEST_F(Train, AParameterThatIsNotFiniteAtTheEndIsNotSaved) {
  // One step: the first weight is 0, so the loss is finite, and its gradient is beyond f32.
  LinearData data(8);
  for (size_t i = 0; i < data.x.size(); ++i) data.x[i] = i % linear_features == 0 ? 3e38F : 0;
  for (float& value : data.y) value = 0;
  settings.epochs = 1;
  settings.seed = 0;
  write_data("train", data);
  JobTable small = linear_job(settings, 8);
  small.data = job().data;
  Expected<TrainOutcome> outcome = train(small, options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 6);
  EXPECT_EQ(outcome.error().message,
            "parameter `model.w` holds a value that is not finite after epoch 1, step 1");
  EXPECT_THAT(text_of(output), HasSubstr("epoch 1/1"));
  EXPECT_FALSE(std::filesystem::exists(options.save_path));
}

TEST_F(Train, DataFailuresSayWhereAndWhat) {
  std::filesystem::remove(folder / "train-y");
  const std::vector<json> log = events();
  EXPECT_EQ(exit_code, 4);
  EXPECT_THAT(message,
              AllOf(HasSubstr("cannot find the data file `train-y`"), HasSubstr("= help: ")));
  ASSERT_EQ(log.size(), 1U);
  EXPECT_EQ(log[0]["exit_code"], 4);
  write_file(folder / "train-y", "damaged!");
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_FALSE(outcome);
  ASSERT_TRUE(outcome.error().data);
  EXPECT_EQ(outcome.error().data->kind, DataFailureKind::malformed);
  EXPECT_EQ(outcome.error().data->split, "train");
  EXPECT_EQ(outcome.error().data->input, "y");
}

TEST_F(Train, FewerSamplesThanABatch) {
  settings.batch = 51;
  ASSERT_TRUE(train(job(), options));  // keep: one short batch
  settings.last = LastBatch::drop;
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 4);
  EXPECT_THAT(render(outcome.error()),
              AllOf(HasSubstr("split `train` holds 50 records, fewer than one batch of 51"),
                    HasSubstr("`last = keep`")));
}

TEST_F(Train, SamplesThatAreLeftOutAreSaid) {
  settings.last = LastBatch::drop;
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->samples, 3 * 48);
  EXPECT_THAT(text_of(messages),
              HasSubstr("warning[W0704]: 2 of 50 examples are left out of every epoch"));
}

TEST_F(Train, ASignalSavesWhatIsThere) {
  StopSignal stop = 0;
  options.limits.stop = &stop;
  // Data are loaded before the signal comes.
  Expected<Dataset> dataset = load_for_training(job(), options);
  ASSERT_TRUE(dataset);
  stop = SIGINT;
  Expected<TrainOutcome> outcome = train(job(), *dataset, options);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 130);
  EXPECT_EQ(outcome->steps, 2);
  EXPECT_TRUE(outcome->epochs.empty());
  EXPECT_TRUE(read_safetensors(options.save_path));
  stop = SIGTERM;
  outcome = train(job(), options);
  ASSERT_FALSE(outcome);  // while loading there is nothing to save
  EXPECT_EQ(outcome.error().exit_code, 143);
}

TEST_F(Train, SaveTargetIsCheckedBeforeTraining) {
  options.save_path = folder / "absent/w";
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 7);
  EXPECT_EQ(text_of(output), "");
}

TEST_F(Train, WeightsNeverReplaceModelDataOrLog) {
  const std::string data = file_content(folder / "train-y");
  options.save_path = folder / "train-y";
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 2);
  EXPECT_EQ(file_content(folder / "train-y"), data);
  write_file(folder / "m.fg", "model");
  JobTable table = job();
  table.model_file = folder / "m.fg";
  options.save_path = folder / "m.fg";
  outcome = train(table, options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 2);
  EXPECT_EQ(file_content(folder / "m.fg"), "model");
}

TEST_F(Train, AFullDiskAtTheEndIsExitSeven) {
  options.save_path = "/dev/full";
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().exit_code, 7);
  EXPECT_THAT(outcome.error().message, HasSubstr("No space left on device"));
  EXPECT_THAT(text_of(output), HasSubstr("epoch 3/3"));  // the results have been told
}

TEST_F(Train, AFullLogChangesNothingElse) {
  Expected<JsonLog> log = JsonLog::open("/dev/full", {}, messages.number());
  ASSERT_TRUE(log);
  options.log = &*log;
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_FALSE(log->close());
  const std::string said = text_of(messages);
  EXPECT_NE(said.find("cannot write to the log"), std::string::npos);
  EXPECT_EQ(said.find("cannot write to the log"), said.rfind("cannot write to the log"));
}

TEST_F(Train, AClosedStandardOutputChangesNothingElse) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  const FileDescriptor writer(ends[1]);
  options.display.descriptor = writer.number();
  Expected<TrainOutcome> outcome = train(job(), options);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_TRUE(read_safetensors(options.save_path));
  EXPECT_THAT(text_of(messages), HasSubstr("Broken pipe"));
}

TEST_F(Train, QuietSaysNothing) {
  options.display.quiet = true;
  ASSERT_TRUE(train(job(), options));
  EXPECT_EQ(text_of(output), "");
  EXPECT_EQ(text_of(messages), "");
}

TEST_F(Train, NoEpochsSaveTheInitialWeights) {
  settings.epochs = 0;
  const std::vector<json> log = events();
  EXPECT_EQ(exit_code, 0);
  ASSERT_EQ(log.size(), 1U);
  Expected<WeightsFile> weights = read_safetensors(options.save_path);
  ASSERT_TRUE(weights);
  EXPECT_EQ(values_of<float>(weights->find("model.w")->bytes.data(), 20), LinearModel(1).w);
}

}  // namespace
}  // namespace fusegrad::runtime
