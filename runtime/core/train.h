// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The whole of training after compiling: data, epochs, report, weights. The one entry of this
// folder.
//
//   JsonLog log = ...;                                 // optional; the driver writes its compile
//   events first TrainOptions options; options.search.model_file = "model.fg";
//   Expected<TrainOutcome> outcome = train(job, options);
//   if (!outcome) { print(render(outcome.error())); return outcome.error().exit_code; }
//   return outcome->exit_code;
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/dataset.h"
#include "runtime/core/error.h"
#include "runtime/core/init_from.h"
#include "runtime/core/job_table.h"
#include "runtime/core/report.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// How often a checkpoint is written.
struct SaveEvery {
  int64_t count = 1;
  bool epochs = true;  ///< or steps
};
/// "100" steps or "2e" epochs; nothing for anything else.
std::optional<SaveEvery> parse_save_every(std::string_view text);

/// Where a run begins and what it keeps.
struct CheckpointOptions {
  std::string folder;              ///< --checkpoint-dir; "" keeps none (but see `resume`)
  std::optional<SaveEvery> every;  ///< --save-every; without it at the end of every epoch
  /// --resume: a checkpoint, or a folder of them, which then also is `folder` if that is "".
  std::string resume;
  std::string init_from;          ///< --init-from: weights that a new run begins with
  Renames renames;                ///< --rename, for these
  std::optional<int64_t> epochs;  ///< --epochs where given: wins over the checkpoint's
  std::optional<int64_t> seed;    ///< --seed where given: must be the checkpoint's
  /// The words of the command line, for the message that says how to go on.
  std::vector<std::string> command;
};

struct TrainOptions {
  DataSearch search;
  int threads = 0;  ///< 0: every core that the process may use
  JsonLog* log =
      nullptr;  ///< --log-json; gets an event per epoch and one at the end, failure or not
  std::string save_path;                ///< --save; "" saves nothing
  std::optional<double> learning_rate;  ///< --lr; nothing leaves the model's or the checkpoint's
  CheckpointOptions checkpoints;
  Metadata metadata;  ///< for the saved file
  Display display;    ///< where lines go; `quiet` prints no epochs and no files
  ReadLimits limits;  ///< for data; `limits.stop` also ends training
};

struct TrainOutcome {
  /// ExitCode::done, answer_is_no when there is a target that was not reached, or 128 + signal when
  /// a signal ended it between two steps.
  int exit_code = 0;
  int64_t steps = 0;
  int64_t samples = 0;
  double seconds = 0;               ///< of the whole call
  std::vector<EpochRecord> epochs;  ///< the completed ones
};

/// The splits that training needs: "train", and validation_split() when the job has a program
/// `eval`.
std::vector<std::string> needed_splits(const JobTable& job);

/// Loads what `needed_splits` says. May run while programs are still being compiled: of `job` it
/// reads inputs, data and (for the names of) programs only.
Expected<Dataset> load_for_training(const JobTable& job, const TrainOptions& options);

/// Runs `init`, then every epoch of the settings: training, then validation with the epoch's
/// weights. Prints one line per epoch, logs one event, and saves at the end. Fails with
///   ExitCode::data        data are missing, malformed, or fewer than one batch where the short one
///   is dropped ExitCode::numbers     a loss is not finite (the message has epoch and step;
///   training has stopped within
///                         that step), or a parameter is not finite at an epoch's end; nothing is
///                         saved
///   ExitCode::checkpoint  the weights cannot be written; found before training where that is
///   possible ExitCode::memory, device, usage   as the parts say; usage too where a learning rate
///   is given that the programs do not read
/// With a checkpoint folder the state is written at the end and as often as the options say; where
/// that fails there is a warning, and the run goes on, but at its end it is a failure (checkpoint).
/// A resumed run has the bits of one that was never stopped. Resuming fails with
/// ExitCode::checkpoint where the checkpoint is damaged or fits neither model nor data.
/// Ends before the last epoch when the target is reached, when the time limit has passed (at the
/// end of a step; what was trained of that epoch is judged like a whole one), or when the loss has
/// not become lower for `patience` epochs. With `patience`, the weights at the end are those of the
/// epoch with the lowest loss. Losses and targets are those of validation where there is such a
/// split. When a signal asks to stop: the step is finished, the state and the weights so far are
/// saved (if asked for), and the outcome's exit code is 128 + signal. A log or standard output that
/// cannot be written is a warning and changes no exit code. Ignores SIGPIPE and SIGXFSZ for its
/// duration.
Expected<TrainOutcome> train(const JobTable& job, const TrainOptions& options);
/// The same with data that are already loaded.
Expected<TrainOutcome> train(const JobTable& job, const Dataset& dataset,
                             const TrainOptions& options);

}  // namespace fusegrad::runtime
