// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The folder that one run keeps its checkpoints in.
//
//   step-00000120.safetensors  after that many steps; the last two are kept
//   best.safetensors           after the epoch with the lowest loss
//   lock                       held while a run writes here
#pragma once

#include <string>
#include <vector>

#include "runtime/core/checkpoint.h"
#include "runtime/core/error.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

/// The newest good checkpoint of a folder.
struct FoundCheckpoint {
  Checkpoint checkpoint;
  std::vector<std::string> skipped;  ///< why newer ones were not taken, a line each with the name
};

/// Reads a file, or of a folder the checkpoint with the most steps that is whole and, if none of
/// them is, the best one. Fails with ExitCode::checkpoint; the message names every file that was
/// tried.
Expected<FoundCheckpoint> find_checkpoint(const std::string& path);

class CheckpointFolder {
 public:
  /// Makes the folder if only its last part is missing, and locks it for this process. `resumed` is
  /// what the run goes on from, null for a new run. Fails with ExitCode::checkpoint when the folder
  /// cannot be written or another process holds it; with ExitCode::usage when it has checkpoints of
  /// another run: any for a new run, for a resumed one any with more steps, apart from those that
  /// were skipped as damaged.
  static Expected<CheckpointFolder> open(const std::string& path, const FoundCheckpoint* resumed);

  /// Writes the state after state.step steps, then removes what is older than the last two that are
  /// good. Fails as write_checkpoint(), and the older ones stay.
  Expected<Unit> save(const JobTable& job, const Session& session, const RunState& state,
                      const BestEpoch& best);
  /// Replaces the best one.
  Expected<Unit> save_best(const JobTable& job, const Session& session, const RunState& state,
                           const BestEpoch& best);

  const std::string& path() const { return path_; }
  /// Of the last save that went well, or what the run was resumed from; "" if there is none.
  const std::string& last_file() const { return last_file_; }

 private:
  CheckpointFolder(std::string path, FileDescriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  FileDescriptor lock_;
  std::string last_file_;
  std::vector<int64_t> good_;  ///< steps of at most two files here that are known to be whole
};

}  // namespace fusegrad::runtime
