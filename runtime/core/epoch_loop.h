// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Epochs from where a run is to where it ends. Private to train*.cpp.
#pragma once

#include <chrono>
#include <optional>

#include "runtime/core/best_epoch.h"
#include "runtime/core/checkpoint_folder.h"
#include "runtime/core/train.h"

namespace fusegrad::runtime {

class EpochLoop {
 public:
  /// All of them outlive the loop. `resumed` and `folder` may be null.
  EpochLoop(const JobTable& job, const Dataset& dataset, const TrainOptions& options,
            const FoundCheckpoint* resumed, CheckpointFolder* folder, Session& session,
            Report& report, TrainOutcome& outcome);

  /// Puts the session where the run begins.
  std::optional<Failure> begin();
  /// Trains to the end and saves.
  std::optional<Failure> run();
  /// There is a target, and it was not reached.
  bool missed_target() const { return job_.settings.target && !state_.target_reached; }

 private:
  enum class Next : uint8_t { epoch, end };

  std::optional<Failure> one_epoch(Next& next);
  /// The training pass of the epoch, with a pause for each checkpoint within it.
  std::optional<Failure> training_pass(PassResult& trained);
  /// What follows from the epoch's numbers: has training reached its end?
  std::optional<Failure> judge(const EpochRecord& record, bool is_judged, Next& next);
  bool has_ended_before();
  std::optional<Failure> finish();
  std::optional<Failure> save_checkpoint(bool must_succeed);
  std::optional<Failure> save_best();
  void say_how_to_go_on();
  double seconds_so_far() const;
  int64_t steps_of_epoch() const;

  const JobTable& job_;
  const TrainOptions& options_;
  const FoundCheckpoint* resumed_;
  CheckpointFolder* folder_;
  Session& session_;
  Report& report_;
  TrainOutcome& outcome_;
  const Split& train_split_;
  const Split* validation_ = nullptr;
  RunState state_;
  BestEpoch best_;
  double seconds_before_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  bool is_saved_ = false;  ///< the state as it is now has a checkpoint
};

}  // namespace fusegrad::runtime
