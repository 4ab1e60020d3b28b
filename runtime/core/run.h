// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the tool does after compiling and a shipped trainer does at once: the options of a run, from
// words to its end.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/core/error.h"
#include "runtime/core/job_table.h"
#include "runtime/core/report.h"
#include "runtime/core/train.h"

namespace fusegrad::runtime {

/// Options that the tool and every trainer have in common.
struct RunOptions {
  std::string data_dir;   ///< --data: the first folder in which data files are looked for
  std::string save_path;  ///< --save
  std::string log_path;   ///< --log-json
  int threads = 0;        ///< --threads; 0: every core that the process may use
  bool quiet = false;     ///< --quiet: no epoch lines
  /// --lr, where it was given: a number in place of the optimizer's argument, or infinite for what
  /// is compiled.
  std::optional<double> learning_rate;
  /// --checkpoint-dir, --save-every, --resume, and --epochs and --seed where they were given.
  CheckpointOptions checkpoints;
};

/// The value of --save-every. Fails with ExitCode::usage.
Expected<SaveEvery> save_every_option(std::string_view text);

/// The log that the options ask for, opened before hours are spent; nothing when they ask for none.
/// `program` is the file that is run (model file or trainer), which must not be overwritten. Fails
/// with ExitCode::usage.
Expected<std::optional<JsonLog>> open_log(const RunOptions& options, const std::string& program);

/// Trains: data from --data, FUSEGRAD_DATA_PATH, the folder of `job.model_file` and the system's
/// folder; messages on stderr, epochs on stdout, weights, checkpoints and log as the options say.
/// SIGINT and SIGTERM end it at the end of a step, with everything saved; a second one ends the
/// process at once. Returns the
/// exit code of a run that came to its end; fails as train() does (runtime/core/train.h).
Expected<int> run_training(const JobTable& job, const RunOptions& options, JsonLog* log);

}  // namespace fusegrad::runtime
