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
#include <vector>

#include "runtime/core/dataset.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"
#include "runtime/core/report.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

struct TrainOptions {
  DataSearch search;
  int threads = 0;  ///< 0: every core that the process may use
  JsonLog* log =
      nullptr;  ///< --log-json; gets an event per epoch and one at the end, failure or not
  std::string save_path;                ///< --save; "" saves nothing
  std::optional<double> learning_rate;  ///< --lr; nothing leaves the model's
  Metadata metadata;                    ///< for the saved file
  Display display;                      ///< where lines go; `quiet` prints no epochs and no files
  ReadLimits limits;                    ///< for data; `limits.stop` also ends training
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
/// Ends before the last epoch when the target is reached, when the time limit has passed (at the
/// end of a step; what was trained of that epoch is judged like a whole one), or when the loss has
/// not become lower for `patience` epochs. With `patience`, the weights at the end are those of the
/// epoch with the lowest loss. Losses and targets are those of validation where there is such a
/// split. When a signal asks to stop: the weights so far are saved (if asked for) and the outcome's
/// exit code is 128 + signal. A log or standard output that cannot be written is a warning and
/// changes no exit code. Ignores SIGPIPE and SIGXFSZ for its duration.
Expected<TrainOutcome> train(const JobTable& job, const TrainOptions& options);
/// The same with data that are already loaded.
Expected<TrainOutcome> train(const JobTable& job, const Dataset& dataset,
                             const TrainOptions& options);

}  // namespace fusegrad::runtime
