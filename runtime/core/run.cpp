// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From the options of a command line to those of the library.
#include "runtime/core/run.h"

#include "runtime/core/apply_run.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/signals.h"

namespace fusegrad::runtime {

Expected<std::optional<JsonLog>> open_log(const RunOptions& options, const std::string& program) {
  if (options.log_path.empty()) return std::optional<JsonLog>();
  Expected<JsonLog> opened = JsonLog::open(options.log_path, {program});
  if (!opened) return opened.error();
  return std::optional<JsonLog>(std::move(*opened));
}

Expected<SaveEvery> save_every_option(std::string_view text) {
  if (const std::optional<SaveEvery> every = parse_save_every(text)) return *every;
  return Failure{ExitCode::usage,
                 fmt::format("--save-every takes a number of steps such as 500, or of epochs such "
                             "as 2e, not {}",
                             quoted(text)),
                 {}};
}

Expected<int> run_training(const JobTable& job, const RunOptions& options, JsonLog* log) {
  TrainOptions train_options;
  train_options.search = search_for(job, options.data_dir);
  train_options.threads = options.threads;
  train_options.log = log;
  train_options.save_path = options.save_path;
  train_options.learning_rate = options.learning_rate;
  train_options.checkpoints = options.checkpoints;
  const StopOnSignal signals;
  train_options.limits.stop = &signals.stop();
  train_options.display.quiet = options.quiet;
  Expected<TrainOutcome> outcome = train(job, train_options);
  if (!outcome) return outcome.error();
  return outcome->exit_code;
}

}  // namespace fusegrad::runtime
