// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs that are killed, interrupted or failed by the system go on as if nothing had happened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <regex>
#include <thread>

#include "runtime/core/checkpoint_folder.h"
#include "tests/driver/program.h"
#include "tests/driver/small_table.h"
#include "tests/driver/tool.h"

namespace fusegrad::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

/// Environment variables that are set while it lives.
class Environment {
 public:
  explicit Environment(const std::vector<std::pair<std::string, std::string>>& variables) {
    for (const auto& [name, value] : variables) {
      setenv(name.c_str(), value.c_str(), 1);
      names_.push_back(name);
    }
  }
  ~Environment() {
    for (const std::string& name : names_) unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::string> names_;
};

std::string without_seconds(const std::string& text) {
  return std::regex_replace(text, std::regex("[0-9.]+ s\n"), "_ s\n");
}

/// One trainer for all tests of this file.
class Resume : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_folder() =
        std::filesystem::path(testing::TempDir()) / ("fusegrad-resume-" + std::to_string(getpid()));
    std::filesystem::create_directories(shared_folder());
    write_small_table(shared_folder());
    const ToolRun run =
        run_tool({"build", small_table_model(), "-o", shared_folder() + "/trainer"});
    ASSERT_EQ(run.exit_code, 0) << run.errors;
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(shared_folder()); }

  static std::string& shared_folder() {
    static std::string folder;
    return folder;
  }
  static std::string trainer() { return shared_folder() + "/trainer"; }

  Resume() : folder(make_folder("runs")), run_folder(folder + "/kept") {}

  std::vector<std::string> with_data(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--data", shared_folder()});
    return arguments;
  }
  ToolRun ship(const std::vector<std::string>& arguments) const {
    return run_program(trainer(), with_data(arguments));
  }
  ToolRun tool(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"train", small_table_model()});
    return run_tool(with_data(arguments));
  }

  /// A run that nothing stops.
  ToolRun uninterrupted(std::string& weights, const std::string& epochs = "2") {
    const ToolRun run =
        ship({"--threads", "1", "--epochs", epochs, "--save", folder + "/reference"});
    EXPECT_EQ(run.exit_code, 0) << run.errors;
    weights = read_file(folder + "/reference");
    EXPECT_FALSE(weights.empty());
    return run;
  }

  /// Lets the `at`-th call do something; true if there were that many.
  bool with_fault(const std::string& calls, const std::string& match, int at,
                  const std::string& action, const std::vector<std::string>& arguments,
                  ToolRun& run) {
    const std::string fired = folder + "/fired";
    std::filesystem::remove(fired);
    const Environment environment({{"LD_PRELOAD", FUSEGRAD_INTERPOSE},
                                   {"INTERPOSE_CALLS", calls},
                                   {"INTERPOSE_MATCH", match},
                                   {"INTERPOSE_AT", std::to_string(at)},
                                   {"INTERPOSE_DO", action},
                                   {"INTERPOSE_FIRED", fired}});
    run = ship(arguments);
    return std::filesystem::exists(fired);
  }

  void start_afresh() const { std::filesystem::remove_all(run_folder); }

  /// Goes on from the folder and compares with what nothing stopped.
  void expect_same_end(const std::string& weights, const ToolRun& reference,
                       const std::string& threads, bool with_tool) {
    const std::vector<std::string> arguments = {"--resume",    run_folder,  "--save",
                                                folder + "/w", "--threads", threads};
    std::filesystem::remove(folder + "/w");
    const ToolRun run = with_tool ? tool(arguments) : ship(arguments);
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_TRUE(read_file(folder + "/w") == weights);
    // The lines of the epochs that were not finished before; the last ones.
    EXPECT_THAT(without_seconds(reference.output), EndsWith(without_seconds(run.output)));
  }

  std::string folder;
  std::string run_folder;
};

TEST_F(Resume, FromEveryStepIsTheUninterruptedRun) {
  std::string weights;
  const ToolRun reference = uninterrupted(weights);
  // Checkpoints change nothing.
  ToolRun run = ship({"--checkpoint-dir", run_folder, "--save-every", "1", "--save", folder + "/w",
                      "--threads", "3"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_TRUE(read_file(folder + "/w") == weights);
  EXPECT_EQ(without_seconds(run.output), without_seconds(reference.output));
  // 7 steps an epoch. Killed when the k-th checkpoint has its name.
  int kills = 0;
  for (int at = 1;; ++at, ++kills) {
    SCOPED_TRACE(at);
    start_afresh();
    if (!with_fault("rename", "/kept/step-", at, "kill_after",
                    {"--checkpoint-dir", run_folder, "--save-every", "1"}, run)) {
      break;
    }
    EXPECT_EQ(run.exit_code, 128 + SIGKILL);
    expect_same_end(weights, reference, at % 2 == 0 ? "1" : "3", at % 5 == 0);
  }
  EXPECT_EQ(kills, 14);
}

TEST_F(Resume, ToolAndTrainerExchangeCheckpoints) {
  std::string weights;
  const ToolRun reference = uninterrupted(weights);
  EXPECT_EQ(tool({"--threads", "2", "--save", folder + "/w"}).exit_code, 0);
  EXPECT_TRUE(read_file(folder + "/w") == weights);
  // One epoch by the tool, the rest by the trainer, and the other way round.
  ToolRun run = tool({"--checkpoint-dir", run_folder, "--epochs", "1"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  run = ship({"--resume", run_folder, "--epochs", "2", "--save", folder + "/a"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors,
              AllOf(HasSubstr("resumed from `" + run_folder), HasSubstr("epoch 2, step 7")));
  start_afresh();
  run = ship({"--checkpoint-dir", run_folder, "--epochs", "1"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  run = tool({"--resume", run_folder, "--epochs", "2", "--save", folder + "/b"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_TRUE(read_file(folder + "/a") == read_file(folder + "/b"));
  // What both keep is the same.
  const auto tensors = [](const std::string& path) {
    auto read = runtime::find_checkpoint(path);
    EXPECT_TRUE(read);
    std::string bytes;
    for (const runtime::NamedTensor& tensor : read->checkpoint.file.tensors) {
      bytes += tensor.name;
      bytes.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
    }
    return bytes;
  };
  const std::string by_tool = tensors(run_folder);
  start_afresh();
  run = ship({"--checkpoint-dir", run_folder, "--epochs", "1"});
  run = ship({"--resume", run_folder, "--epochs", "2"});
  EXPECT_TRUE(tensors(run_folder) == by_tool);
}

TEST_F(Resume, EveryCallOfASaveMayFail) {
  std::string weights;
  const ToolRun reference = uninterrupted(weights, "1");
  const std::vector<std::string> arguments = {"--checkpoint-dir", run_folder, "--epochs", "1",
                                              "--save-every",     "3"};
  struct Kind {
    const char* calls;
    const char* action;
  };
  const std::vector<Kind> kinds = {{"open", "13"},     {"write", "28"},  {"write", "4"},
                                   {"write", "short"}, {"fsync", "5"},   {"close", "5"},
                                   {"rename", "28"},   {"unlink", "13"}, {"mkdir", "28"}};
  for (const Kind& kind : kinds) {
    for (int at = 1;; ++at) {
      SCOPED_TRACE(std::string(kind.calls) + " " + kind.action + " at " + std::to_string(at));
      start_afresh();
      ToolRun run;
      if (!with_fault(kind.calls, "/kept", at, kind.action, arguments, run)) {
        EXPECT_GT(at, 1);
        EXPECT_EQ(run.exit_code, 0);
        break;
      }
      // Either the run says what failed and why, or it did not matter.
      EXPECT_THAT(run.exit_code, AnyOf(0, 7)) << run.errors;
      if (run.exit_code == 7) {
        EXPECT_THAT(run.errors, HasSubstr("error: cannot "));
      }
      // Nothing half-written has a name that counts; what is there can be gone on from.
      if (run.exit_code == 0) {
        expect_same_end(weights, reference, "1", false);
      } else if (auto found = runtime::find_checkpoint(run_folder)) {
        EXPECT_TRUE(found->skipped.empty()) << found->skipped[0];
        expect_same_end(weights, reference, "3", false);
      }
    }
  }
}

TEST_F(Resume, KilledAtEveryCallOfASave) {
  std::string weights;
  const ToolRun reference = uninterrupted(weights, "1");
  const std::vector<std::string> arguments = {"--checkpoint-dir", run_folder, "--epochs", "1",
                                              "--save-every",     "3"};
  int kills = 0;
  for (const char* action : {"kill", "kill_after"}) {
    for (int at = 1;; ++at, ++kills) {
      SCOPED_TRACE(std::string(action) + " at " + std::to_string(at));
      start_afresh();
      ToolRun run;
      if (!with_fault("open,write,fsync,close,rename,unlink,mkdir", "/kept", at, action, arguments,
                      run)) {
        break;
      }
      EXPECT_EQ(run.exit_code, 128 + SIGKILL);
      if (!std::filesystem::exists(run_folder)) continue;
      auto found = runtime::find_checkpoint(run_folder);
      if (found) {
        EXPECT_TRUE(found->skipped.empty()) << found->skipped[0];
        expect_same_end(weights, reference, "1", false);
        for (const auto& entry : std::filesystem::directory_iterator(run_folder)) {
          EXPECT_THAT(entry.path().filename().string(), Not(testing::StartsWith(".")));
        }
      } else {
        // Not even the first one was whole.
        EXPECT_THAT(found.error().message, HasSubstr("has no checkpoints"));
      }
    }
  }
  EXPECT_GT(kills, 60) << kills;
}

/// A process that runs while the test goes on.
class Running {
 public:
  Running(const std::string& program, const std::vector<std::string>& arguments,
          const std::string& output)
      : output_(output) {
    child_ = fork();
    if (child_ != 0) return;
    if (std::freopen("/dev/null", "rb", stdin) == nullptr ||
        std::freopen((output + ".out").c_str(), "wb", stdout) == nullptr ||
        std::freopen((output + ".err").c_str(), "wb", stderr) == nullptr) {
      _exit(126);
    }
    std::vector<char*> raw = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
      raw.push_back(const_cast<char*>(argument.c_str()));
    raw.push_back(nullptr);
    execv(program.c_str(), raw.data());
    _exit(127);
  }
  void send(int number) const { kill(child_, number); }
  ToolRun wait() const {
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    ToolRun run;
    run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    run.output = read_file(output_ + ".out");
    run.errors = read_file(output_ + ".err");
    return run;
  }

 private:
  std::string output_;
  pid_t child_ = -1;
};

/// Waits until the file is there, at most half a minute.
bool appears(const std::string& path) {
  for (int i = 0; i < 3000 && !std::filesystem::exists(path); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return std::filesystem::exists(path);
}

TEST_F(Resume, ASignalSavesAndSaysHowToGoOn) {
  const std::vector<std::string> whole = {"--epochs", "400", "--threads", "1"};
  std::vector<std::string> arguments = whole;
  arguments.insert(arguments.end(), {"--save", folder + "/reference"});
  ASSERT_EQ(ship(arguments).exit_code, 0);
  for (const int number : {SIGINT, SIGTERM}) {
    for (const bool is_tool : {false, true}) {
      SCOPED_TRACE(std::to_string(number) + (is_tool ? " tool" : " trainer"));
      start_afresh();
      arguments = with_data({"--epochs", "400", "--checkpoint-dir", run_folder, "--save",
                             folder + "/w", "--threads", "2"});
      if (is_tool) arguments.insert(arguments.begin(), {"train", small_table_model()});
      const std::string program = is_tool ? FUSEGRAD_TOOL : trainer();
      const Running running(program, arguments, folder + "/log");
      ASSERT_TRUE(appears(run_folder + "/best.safetensors"));
      running.send(number);
      const ToolRun run = running.wait();
      ASSERT_EQ(run.exit_code, 128 + number) << run.errors;
      const size_t begin = run.errors.find("resume with: ");
      ASSERT_NE(begin, std::string::npos) << run.errors;
      EXPECT_THAT(run.errors, HasSubstr("interrupted in epoch"));
      std::string command = run.errors.substr(begin + 13);
      command = command.substr(0, command.find('\n'));
      EXPECT_THAT(command, AllOf(HasSubstr("--resume " + run_folder), HasSubstr("--epochs 400")));
      // The command is taken as it stands.
      std::filesystem::remove(folder + "/w");
      const ToolRun rest = run_program("/bin/sh", {"-c", command});
      ASSERT_EQ(rest.exit_code, 0) << rest.errors;
      EXPECT_TRUE(read_file(folder + "/w") == read_file(folder + "/reference"));
    }
  }
}

TEST_F(Resume, ASecondSignalLeavesAtOnce) {
  const std::string fired = folder + "/fired";
  const Environment environment({{"LD_PRELOAD", FUSEGRAD_INTERPOSE},
                                 {"INTERPOSE_CALLS", "fsync"},
                                 {"INTERPOSE_MATCH", "/kept"},
                                 {"INTERPOSE_AT", "1"},
                                 {"INTERPOSE_DO", "sleep"},
                                 {"INTERPOSE_FIRED", fired}});
  const auto begin = std::chrono::steady_clock::now();
  const Running running(trainer(), with_data({"--checkpoint-dir", run_folder, "--save-every", "1"}),
                        folder + "/log");
  ASSERT_TRUE(appears(fired));
  // The first ends sleep() early, which the save goes on after; so several are sent at once.
  running.send(SIGTERM);
  running.send(SIGINT);
  const ToolRun run = running.wait();
  EXPECT_THAT(run.exit_code, AnyOf(130, 143));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST_F(Resume, MistakesAreExplained) {
  ASSERT_EQ(ship({"--checkpoint-dir", run_folder, "--epochs", "1"}).exit_code, 0);
  const std::string newest = run_folder + "/step-00000007.safetensors";
  ToolRun run = ship({"--save", folder + "/w", "--epochs", "1"});
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{"--checkpoint-dir", run_folder}, 2, "has the checkpoints of another run"},
      {{"--resume", folder + "/none"}, 7, "none"},
      {{"--resume", folder}, 7, "has no checkpoints"},
      {{"--resume", folder + "/w"}, 7, "it is no checkpoint"},
      {{"--resume", run_folder, "--seed", "6"}, 2, "was trained with seed 5, not 6"},
      {{"--resume", newest, "--save", newest}, 2, "would be written over"},
      {{"--save-every", "3"}, 2, "--save-every needs a folder"},
      {{"--save-every", "0"}, 2, "takes a number of steps"},
      {{"--save-every", "e"}, 2, "takes a number of steps"},
      {{"--save-every", "1.5e"}, 2, "takes a number of steps"},
  };
  for (const Case& wrong : cases) {
    for (const bool is_tool : {false, true}) {
      run = is_tool ? tool(wrong.arguments) : ship(wrong.arguments);
      EXPECT_EQ(run.exit_code, wrong.exit_code) << wrong.message << "\n" << run.errors;
      EXPECT_THAT(run.errors, HasSubstr(wrong.message));
      EXPECT_EQ(run.output, "");
    }
  }
  // Another model, other data.
  run = tool({"--resume", run_folder, "--set", "optimizer=sgd(lr = 0.1)"});
  EXPECT_EQ(run.exit_code, 7);
  EXPECT_THAT(run.errors, AllOf(HasSubstr("does not fit the model `small_table`"),
                                HasSubstr("dense.w.m"), HasSubstr("expected")));
  run = tool({"--resume", run_folder, "--batch", "9"});
  EXPECT_EQ(run.exit_code, 7);
  EXPECT_THAT(run.errors, HasSubstr("its batch is 8, not 9"));
  const std::string other = make_folder("other");
  std::string table = read_file(shared_folder() + "/table.csv");
  table.replace(table.find('\n') + 1, 2, "11");
  write_file(other + "/table.csv", table);
  run = run_program(trainer(), {"--resume", run_folder, "--epochs", "2", "--data", other});
  EXPECT_EQ(run.exit_code, 7);
  EXPECT_THAT(run.errors, HasSubstr("was trained on other data"));
  // None of this harmed the checkpoint.
  EXPECT_EQ(ship({"--resume", run_folder, "--epochs", "2"}).exit_code, 0);
}

TEST_F(Resume, ANewRunMayBeginWithWeightsOfAnotherOne) {
  ASSERT_EQ(ship({"--save", folder + "/w", "--checkpoint-dir", run_folder}).exit_code, 0);
  // Nothing but the weights: the same as a new run whose initial values these are.
  const std::vector<std::string> none = {
      "--set", "optimizer=sgd(lr = 0.0)", "--epochs", "1", "--set", "patience=9"};
  const auto tune = [&](const std::string& model, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"train", model, "--save", folder + "/v"});
    arguments.insert(arguments.end(), none.begin(), none.end());
    return run_tool(with_data(arguments));
  };
  const auto tensor = [&](const std::string& path, const std::string& name) {
    auto file = runtime::read_safetensors(path);
    EXPECT_TRUE(file);
    const runtime::NamedTensor* found = file->find(name);
    EXPECT_NE(found, nullptr) << name;
    return found == nullptr ? std::vector<std::byte>() : found->bytes;
  };
  const std::string same = small_table_model();
  ToolRun run = tune(same, {"--init-from", folder + "/w"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("initialised 8 of 8 tensors from `" + folder + "/w`\n"));
  EXPECT_EQ(tensor(folder + "/v", "dense.w"), tensor(folder + "/w", "dense.w"));
  run = tune(same, {"--init-from", run_folder + "/best.safetensors"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(tensor(folder + "/v", "dense_2.w"), tensor(folder + "/w", "dense_2.w"));

  std::string text = read_file(same);
  text.replace(text.find("dense(h, 3)"), 11, "dense(h, 3) as head");
  const std::string headed = folder + "/headed.fg";
  write_file(headed, text);
  run = tune(headed, {"--init-from", folder + "/w"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.errors,
              AllOf(HasSubstr("initialised 6 of 8 tensors"), HasSubstr("new: head.c, head.w"),
                    HasSubstr("left out: `dense_2.c`, `dense_2.w`")));
  run = tune(headed, {"--init-from", folder + "/w", "--rename", "dense_2=head"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("initialised 8 of 8 tensors"));
  EXPECT_EQ(tensor(folder + "/v", "head.w"), tensor(folder + "/w", "dense_2.w"));
  run = tune(headed, {"--init-from", folder + "/w", "--rename", "dense_2.w=head.w"});
  EXPECT_THAT(run.errors, HasSubstr("initialised 7 of 8 tensors"));

  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  };
  const std::string w = folder + "/w";
  const std::vector<Case> cases = {
      {{"--init-from", folder + "/none"}, 7, "none"},
      {{"--init-from", w, "--rename", "dens=head"}, 2, "has no `dens`"},
      {{"--init-from", w, "--rename", "dense_2=dense"}, 2, "two tensors of"},
      {{"--init-from", w, "--rename", "dense_2"}, 2, "--rename takes OLD=NEW"},
      {{"--init-from", w, "--rename", "dense_2.c=head.w"}, 7, "head.w  f32[8, 3]  f32[3]"},
      {{"--rename", "a=b"}, 2, "--rename belongs to --init-from"},
      {{"--init-from", w, "--resume", run_folder}, 2, "give one of them"},
  };
  for (const Case& wrong : cases) {
    run = tune(headed, wrong.arguments);
    EXPECT_EQ(run.exit_code, wrong.exit_code) << wrong.message << "\n" << run.errors;
    EXPECT_THAT(run.errors, HasSubstr(wrong.message));
  }
  EXPECT_EQ(ship({"--init-from", w, "--epochs", "1"}).exit_code, 0);
}

TEST_F(Resume, ADamagedCheckpointIsNamedAndTheOneBeforeTaken) {
  std::string weights;
  const ToolRun reference = uninterrupted(weights);
  ToolRun run;
  ASSERT_TRUE(with_fault("rename", "/kept/step-", 9, "kill_after",
                         {"--checkpoint-dir", run_folder, "--save-every", "1"}, run));
  auto found = runtime::find_checkpoint(run_folder);
  ASSERT_TRUE(found);
  const std::string newest = found->checkpoint.path;
  std::string bytes = read_file(newest);
  bytes[bytes.size() - 3] ^= 16;
  write_file(newest, bytes);
  run = ship({"--resume", run_folder, "--save", folder + "/w"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors,
              HasSubstr("warning: cannot use the weights `" + newest + "`: its checksum differs"));
  EXPECT_TRUE(read_file(folder + "/w") == weights);
}

TEST_F(Resume, ATimeLimitEndsARunThatCanGoOn) {
  std::string weights;
  uninterrupted(weights);
  for (const bool is_tool : {false, true}) {
    start_afresh();
    const std::vector<std::string> limited = {"--checkpoint-dir", run_folder, "--max-time=1e-9"};
    ToolRun run = is_tool ? tool(limited) : ship(limited);
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_THAT(run.errors, HasSubstr("the time limit of 1e-09 s ends training in epoch 1"));
    auto found = runtime::find_checkpoint(run_folder);
    ASSERT_TRUE(found);
    EXPECT_LE(found->checkpoint.state.step, 2);
    EXPECT_GT(found->checkpoint.state.seconds, 0);
    // What was trained counts; with the same limit there is nothing left.
    run = ship({"--resume", run_folder, "--max-time=1e-9"});
    EXPECT_EQ(run.exit_code, 0);
    EXPECT_EQ(run.output, "");
    run = ship({"--resume", run_folder, "--max-time", "1000", "--save", folder + "/w"});
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_TRUE(read_file(folder + "/w") == weights);
  }
  for (const char* wrong : {"0", "-1", "x", ""}) {
    EXPECT_EQ(ship({"--max-time", wrong}).exit_code, 2);
  }
}

TEST_F(Resume, AFinishedRunHasNothingToDoAndCanBeGivenMore) {
  std::string weights;
  uninterrupted(weights);
  ASSERT_EQ(ship({"--checkpoint-dir", run_folder}).exit_code, 0);
  ToolRun run = ship({"--resume", run_folder, "--save", folder + "/w"});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(run.output, "");
  EXPECT_TRUE(read_file(folder + "/w") == weights);
  run = ship({"--resume", run_folder, "--epochs", "4"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output, testing::StartsWith("epoch 3/4"));
  // A rate that was set stays set; another one may be set.
  start_afresh();
  ASSERT_EQ(ship({"--checkpoint-dir", run_folder, "--lr", "0.005", "--epochs", "1"}).exit_code, 0);
  auto found = runtime::find_checkpoint(run_folder);
  ASSERT_TRUE(found);
  const runtime::NamedTensor* rate = found->checkpoint.file.find("optimizer.lr");
  ASSERT_NE(rate, nullptr);
  double value = 0;
  std::memcpy(&value, rate->bytes.data(), sizeof value);
  EXPECT_EQ(value, 0.005);
}

}  // namespace
}  // namespace fusegrad::test
