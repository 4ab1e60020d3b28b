// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints as files: they come back as they were, and nothing else comes back.
#include "runtime/core/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/core/checkpoint_folder.h"
#include "tests/runtime/linear_job.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() : job(linear_job(settings(), 20)) {
    job.model_text = "model linear { \"quoted\" \\ ü }\n";
    // As it is in a real job: small enough to try every byte.
    for (ProgramTable& program : job.programs) {
      std::erase_if(program.launches[0].kernels,
                    [](const KernelEntry& kernel) { return kernel.name == "b"; });
      for (BufferEntry& buffer : program.buffers) {
        if (buffer.name == "log") buffer.layout.shape = {3};
      }
      for (LaunchEntry& launch : program.launches) {
        std::erase_if(launch.kernels,
                      [](const KernelEntry& kernel) { return kernel.name == "log"; });
      }
    }
    team = std::move(*ThreadTeam::start(1));
    session = std::move(*Session::create(job, *team));
    session->initialise();
    const Split split = LinearData(20).split();
    PassControls controls;
    controls.pause_after = 2;
    session->train_epoch(split, 1, 3, controls, &state.sums);
    state.step = session->steps_done();
    state.epochs = 3;
    state.seconds = 1.25;
    state.best_epoch = 1;
    state.best_loss = 0.1;
    state.data = fingerprint(split);
  }

  static TrainSettings settings() {
    TrainSettings result;
    result.batch = 4;
    result.epochs = 3;
    result.seed = 9;
    result.last = LastBatch::keep;
    return result;
  }

  std::string write(const std::string& name, const BestEpoch& best = BestEpoch(false)) {
    std::string path = folder / name;
    Expected<Unit> written = write_checkpoint(path, job, *session, state, best);
    EXPECT_TRUE(written) << written.error().message;
    return path;
  }

  TemporaryFolder folder;
  JobTable job;
  std::unique_ptr<ThreadTeam> team;
  std::unique_ptr<Session> session;
  RunState state;
};

TEST_F(CheckpointTest, ComesBackAsItWas) {
  BestEpoch best(true);
  best.judge(*session, 1, 0.1);
  const Split split = LinearData(20).split();
  session->train_epoch(split, 1, 3, {}, &state.sums);
  state.step = session->steps_done();
  const std::string path = write("c", best);
  Expected<Checkpoint> read = read_checkpoint(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->state.epoch, 1);
  EXPECT_EQ(read->state.sums, state.sums);
  EXPECT_EQ(read->state.sums.steps, 5);
  EXPECT_EQ(read->state.step, 5);
  EXPECT_EQ(read->state.seconds, 1.25);
  EXPECT_EQ(read->state.data, fingerprint(split));
  EXPECT_EQ(read->seed, 9);
  EXPECT_EQ(read->batch, 4);
  EXPECT_EQ(read->model_text, job.model_text);
  EXPECT_FALSE(check_fit(*read, job));

  std::unique_ptr<Session> other = std::move(*Session::create(job, *team));
  other->initialise();
  BestEpoch other_best(true);
  ASSERT_FALSE(restore(*read, *other, other_best));
  EXPECT_EQ(other->steps_done(), 5);
  EXPECT_EQ(other_best.kept(), best.kept());
  EXPECT_EQ(other_best.loss(), 0.1);
  const std::vector<NamedBuffer> buffers = session->run_buffers();
  ASSERT_EQ(buffers.size(), 5U);
  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_EQ(natural_elements(other->run_buffers()[i]), natural_elements(buffers[i]));
  }
}

TEST_F(CheckpointTest, SumsKeepTheirBits) {
  state.sums.loss = std::numeric_limits<double>::quiet_NaN();
  state.sums.metrics = {-0.0, 0.1};
  state.sums.parts = {{}, {std::numeric_limits<double>::infinity(), 1e-310}};
  Expected<Checkpoint> read = read_checkpoint(write("c"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(std::isnan(read->state.sums.loss));
  EXPECT_TRUE(std::signbit(read->state.sums.metrics[0]));
  EXPECT_EQ(read->state.sums.parts, state.sums.parts);
  // Which are not those of this model.
  BestEpoch best(false);
  const std::optional<Failure> failure = restore(*read, *session, best);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_code, 7);
}

TEST_F(CheckpointTest, EveryTruncationAndEveryChangedByteIsRefused) {
  const std::string path = write("c");
  const std::string good = file_content(path);
  ASSERT_LT(good.size(), 4096U);
  ASSERT_TRUE(read_checkpoint(path));
  const std::string bad = folder / "bad";
  const auto is_refused = [&](const std::string& bytes) {
    write_file(bad, bytes);
    Expected<Checkpoint> read = read_checkpoint(bad);
    if (read) return false;
    EXPECT_EQ(read.error().exit_code, 7);
    EXPECT_THAT(read.error().message, HasSubstr("`" + bad + "`"));
    return true;
  };
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(is_refused(good.substr(0, size))) << size;
  }
  EXPECT_TRUE(is_refused(good + '\0'));
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int bits : {0x01, 0x02, 0x20, 0x80, 0xff}) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ bits);
      EXPECT_TRUE(is_refused(changed)) << "byte " << i << " xor " << bits;
    }
  }
}

TEST_F(CheckpointTest, EveryKeyIsNeededAndLookedAt) {
  Expected<WeightsFile> file = read_safetensors(write("c"));
  ASSERT_TRUE(file);
  const auto message_of = [&](const Metadata& metadata) {
    const std::string path = folder / "changed";
    EXPECT_TRUE(write_safetensors(path, file->tensors, metadata));
    Expected<Checkpoint> read = read_checkpoint(path);
    if (read) return std::string("read");
    EXPECT_EQ(read.error().exit_code, 7);
    return read.error().message;
  };
  EXPECT_EQ(message_of(file->metadata), "read");
  EXPECT_EQ(file->metadata.size(), 21U);
  for (const auto& [key, value] : file->metadata) {
    if (key == "format") continue;
    Metadata without = file->metadata;
    without.erase(key);
    EXPECT_THAT(message_of(without), AllOf(Not("read"), HasSubstr("`" + (folder / "changed"))))
        << key;
  }
  const std::vector<std::pair<std::string, std::string>> wrong = {{"fusegrad.checkpoint", "2"},
                                                                  {"epoch", "0"},
                                                                  {"epoch", "1x"},
                                                                  {"position", "-1"},
                                                                  {"step", "1"},
                                                                  {"epochs", "99999999999999"},
                                                                  {"samples", ""},
                                                                  {"sums", ""},
                                                                  {"sums", "0"},
                                                                  {"sums", "000000000000000g"},
                                                                  {"seconds", "1.25"},
                                                                  {"seconds", "bff0000000000000"},
                                                                  {"target_reached", "2"},
                                                                  {"best_epoch", "7"},
                                                                  {"best_loss", "x"},
                                                                  {"batch", "0"},
                                                                  {"seed", "-1"},
                                                                  {"shuffle", "true"},
                                                                  {"last", "maybe"},
                                                                  {"data_samples", "0"},
                                                                  {"data_checksum", "-4"},
                                                                  {"step", "99999999999999999999"}};
  for (const auto& [key, value] : wrong) {
    Metadata changed = file->metadata;
    changed[key] = value;
    EXPECT_THAT(message_of(changed), Not("read")) << key << " = " << value;
  }
}

TEST_F(CheckpointTest, WeightsAreNoCheckpoint) {
  const std::string path = folder / "w";
  ASSERT_TRUE(write_safetensors(path, parameters_of(*session)));
  Expected<Checkpoint> read = read_checkpoint(path);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("it is no checkpoint"));
  // But a checkpoint has the weights.
  Expected<WeightsFile> weights = read_safetensors(write("c"));
  ASSERT_TRUE(weights);
  EXPECT_TRUE(restore_parameters(*weights, *session));
}

TEST_F(CheckpointTest, AMisfitIsATable) {
  Expected<Checkpoint> read = read_checkpoint(write("c"));
  ASSERT_TRUE(read);
  JobTable other = job;
  for (ProgramTable& program : other.programs) {
    for (BufferEntry& buffer : program.buffers) {
      if (buffer.name == "model.w") buffer.name = "modell.w";
      if (buffer.name == "visits") buffer.layout.shape = {21};
    }
  }
  std::optional<Failure> failure = check_fit(*read, other);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_code, 7);
  EXPECT_EQ(failure->message, "the checkpoint `" + (folder / "c") +
                                  "` does not fit the model `linear`:\n"
                                  "            expected  found\n"
                                  "  modell.w  f32[5]    - (nearest: model.w, f32[5])\n"
                                  "  visits    i32[21]   i32[20]\n"
                                  "  model.w   -         f32[5]");
  other = job;
  other.settings.batch = 5;
  EXPECT_THAT(check_fit(*read, other)->message, HasSubstr("its batch is 4, not 5"));
  other = job;
  other.settings.shuffle = false;
  EXPECT_THAT(check_fit(*read, other)->message, HasSubstr("shuffle = true"));
  other = job;
  other.settings.last = LastBatch::drop;
  EXPECT_THAT(check_fit(*read, other)->message, HasSubstr("last = keep"));
}

TEST_F(CheckpointTest, NonFiniteParametersAreNotWritten) {
  const std::string path = write("c");
  const std::string good = file_content(path);
  for (const NamedBuffer& buffer : session->buffers(BufferKind::parameter)) {
    if (buffer.name != "model.b") continue;
    const float infinite = std::numeric_limits<float>::infinity();
    std::memcpy(buffer.data, &infinite, sizeof infinite);
  }
  Expected<Unit> written = write_checkpoint(path, job, *session, state, BestEpoch(false));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().exit_code, 6);
  EXPECT_THAT(written.error().message, HasSubstr("parameter `model.b`"));
  EXPECT_EQ(file_content(path), good);
}

class CheckpointFolderTest : public CheckpointTest {
 protected:
  CheckpointFolderTest() : path(folder / "run") {}

  CheckpointFolder open(const FoundCheckpoint* resumed = nullptr) {
    Expected<CheckpointFolder> opened = CheckpointFolder::open(path, resumed);
    if (!opened) ADD_FAILURE() << opened.error().message;
    return std::move(*opened);
  }
  void save(CheckpointFolder& target, int64_t step) {
    state.step = step;
    Expected<Unit> saved = target.save(job, *session, state, BestEpoch(false));
    EXPECT_TRUE(saved) << saved.error().message;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      result.push_back(entry.path().filename().string());
    }
    std::sort(result.begin(), result.end());
    return result;
  }
  Failure refusal(const FoundCheckpoint* resumed = nullptr) {
    Expected<CheckpointFolder> opened = CheckpointFolder::open(path, resumed);
    if (opened) ADD_FAILURE() << "opened";
    return opened ? Failure() : opened.error();
  }

  std::string path;
};

TEST_F(CheckpointFolderTest, KeepsTheLastTwoAndTheBest) {
  CheckpointFolder target = open();
  for (const int64_t step : {2, 5, 7, 1000000000}) save(target, step);
  EXPECT_TRUE(target.save_best(job, *session, state, BestEpoch(false)));
  EXPECT_THAT(names(), ElementsAre("best.safetensors", "lock", "step-00000007.safetensors",
                                   "step-1000000000.safetensors"));
  EXPECT_THAT(target.last_file(), testing::EndsWith("/run/step-1000000000.safetensors"));
  Expected<FoundCheckpoint> found = find_checkpoint(path);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->checkpoint.state.step, 1000000000);
}

TEST_F(CheckpointFolderTest, TheNewestGoodOneIsFoundAndBadOnesAreNamed) {
  {
    CheckpointFolder target = open();
    save(target, 5);
    EXPECT_TRUE(target.save_best(job, *session, state, BestEpoch(false)));
    save(target, 7);
  }
  const std::string newest = path + "/step-00000007.safetensors";
  std::string bytes = file_content(newest);
  bytes[bytes.size() - 3] ^= 1;
  write_file(newest, bytes);
  write_file(path + "/step-x.safetensors", "no");
  write_file(path + "/step-9.safetensors", "no");
  write_file(path + "/step-00000009.safetensors", "no");
  write_file(path + "/.step-00000009.safetensors.77-0.tmp", "half of one");
  Expected<FoundCheckpoint> found = find_checkpoint(path);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->checkpoint.state.step, 5);
  ASSERT_EQ(found->skipped.size(), 2U);
  EXPECT_THAT(found->skipped[0], HasSubstr("step-00000009.safetensors`: byte 2"));
  EXPECT_THAT(found->skipped[1],
              AllOf(HasSubstr(newest), HasSubstr("its checksum differs: it was damaged")));

  // The run goes on there; what is left of a killed process goes away, what is damaged stays until
  // there are two newer good ones.
  {
    CheckpointFolder target = open(&*found);
    EXPECT_FALSE(std::filesystem::exists(path + "/.step-00000009.safetensors.77-0.tmp"));
    save(target, 7);
    EXPECT_TRUE(read_checkpoint(newest));
    EXPECT_TRUE(std::filesystem::exists(path + "/step-00000005.safetensors"));
    save(target, 10);
    save(target, 11);
  }
  EXPECT_THAT(names(),
              ElementsAre("best.safetensors", "lock", "step-00000010.safetensors",
                          "step-00000011.safetensors", "step-9.safetensors", "step-x.safetensors"));

  for (const char* name : {"10", "11"}) {
    write_file(path + "/step-000000" + name + ".safetensors", "");
  }
  found = find_checkpoint(path);
  ASSERT_TRUE(found);
  EXPECT_THAT(found->checkpoint.path, testing::EndsWith("/best.safetensors"));
  write_file(path + "/best.safetensors", "");
  found = find_checkpoint(path);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().exit_code, 7);
  EXPECT_THAT(found.error().message, AllOf(HasSubstr("none of the checkpoints in"),
                                           HasSubstr("step-00000010.safetensors`: byte 0"),
                                           HasSubstr("best.safetensors`: byte 0")));
}

TEST_F(CheckpointFolderTest, BelongsToOneRun) {
  CheckpointFolder first = open();
  save(first, 5);
  EXPECT_THAT(refusal().message, HasSubstr("another run writes there"));
  {
    CheckpointFolder closed = std::move(first);
  }
  const Failure again = refusal();
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.message, HasSubstr("`--resume " + path + "` goes on with it"));
  Expected<FoundCheckpoint> found = find_checkpoint(path);
  ASSERT_TRUE(found);
  {
    CheckpointFolder target = open(&*found);
    save(target, 8);
  }
  // Going on from an older file beside newer ones would hide it from the next --resume.
  EXPECT_THAT(refusal(&*found).message, HasSubstr("later than step 5"));
}

TEST_F(CheckpointFolderTest, WhatIsNoFolder) {
  write_file(path, "a file");
  EXPECT_THAT(refusal().message, HasSubstr("it is no folder"));
  path = folder / "none/run";
  EXPECT_THAT(refusal().message, HasSubstr("No such file or directory"));
  Expected<FoundCheckpoint> found = find_checkpoint(folder.path());
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, HasSubstr("has no checkpoints"));
}

}  // namespace
}  // namespace fusegrad::runtime
