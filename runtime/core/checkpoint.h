// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A checkpoint: one safetensors file with everything that a run needs to go on as if it had never
// stopped.
//
// Tensors: parameters and states (of layers and of the optimizer, the learning rate among them)
// under their instance paths; with `patience` also those of the best epoch, as "best/PATH".
// Metadata: docs/shipping.md lists the keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/best_epoch.h"
#include "runtime/core/dataset.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// Epochs of a run: times the steps of one they stay far from overflow.
constexpr int64_t most_epochs = int64_t{1} << 40;

/// Which data a run is trained on; another order of records is other data.
struct DataFingerprint {
  int64_t samples = 0;
  int64_t checksum = 0;  ///< CRC-32 of all columns' elements
  bool operator==(const DataFingerprint&) const = default;
};
DataFingerprint fingerprint(const Split& split);

/// Where a run is. Numbers that follow from the settings are not in it.
struct RunState {
  int64_t epoch = 1;            ///< the one in progress
  PassSums sums;                ///< of its training pass so far
  int64_t step = 0;             ///< steps of all epochs
  int64_t epochs = 0;           ///< that were asked for
  double seconds = 0;           ///< trained so far
  bool target_reached = false;  ///< training ended for this reason
  int64_t best_epoch = 0;       ///< with the lowest loss; 0: none was judged yet
  double best_loss = 0;
  DataFingerprint data;
};

/// A checkpoint that was read and checked, apart from fitting a job.
struct Checkpoint {
  std::string path;
  RunState state;
  int64_t batch = 0;
  int64_t seed = 0;
  bool shuffle = false;
  LastBatch last = LastBatch::drop;
  std::string model_text;
  WeightsFile file;
};

/// Writes parameters and states of the session. `best`: of the best epoch, where they are kept.
/// Fails with ExitCode::checkpoint; with ExitCode::numbers, writing nothing, when a parameter is
/// not finite.
Expected<Unit> write_checkpoint(const std::string& path, const JobTable& job,
                                const Session& session, const RunState& state,
                                const BestEpoch& best);

/// Reads and checks: a safetensors file with a right checksum, of this version, with every key, and
/// numbers that agree with each other. Fails with ExitCode::checkpoint and one line.
Expected<Checkpoint> read_checkpoint(const std::string& path);

/// That a run of this job can go on from the checkpoint: the same tensors (else a table of the
/// differences), batch, order of examples and last batch. Fails with ExitCode::checkpoint.
std::optional<Failure> check_fit(const Checkpoint& checkpoint, const JobTable& job);

/// Puts the checkpoint, which fits, into a session that was initialised. Fails with
/// ExitCode::checkpoint when the accumulated metrics are not those of the program.
std::optional<Failure> restore(const Checkpoint& checkpoint, Session& session, BestEpoch& best);

}  // namespace fusegrad::runtime
