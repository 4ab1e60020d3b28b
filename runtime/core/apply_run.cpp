// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is printed, and which files are never written over.
#include "runtime/core/apply_run.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "runtime/core/apply.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/output_file.h"
#include "runtime/core/readers.h"
#include "runtime/core/signals.h"
#include "runtime/core/text_values.h"

namespace fusegrad::runtime {

namespace {

/// An input that was standardised for training is wanted like that again.
void warn_about_scale(const JobTable& job, const ApplyRun& run) {
  for (const DataEntry& entry : job.data) {
    if (entry.split != "train" || !run.inputs.contains(entry.input)) continue;
    if (!argument_or<bool>(entry.arguments, "standardise", false)) continue;
    // Nobody is left to be told when stderr fails.
    (void)write_all(2, fmt::format("warning: input {} was standardised for training; its values "
                                   "are taken as they are\n",
                                   quoted(entry.input)));
  }
}

ApplyOptions options_of(const ApplyRun& run, const StopOnSignal& signals) {
  ApplyOptions options;
  options.weights = run.weights;
  options.threads = run.threads;
  options.limits.stop = &signals.stop();
  return options;
}

}  // namespace

Expected<Unit> add_input(std::string_view assignment, std::map<std::string, std::string>& inputs) {
  return add_assignment("--input", "NAME=FILE", assignment, inputs);
}

DataSearch search_for(const JobTable& job, const std::string& data_dir) {
  DataSearch search;
  search.data_dir = data_dir;
  if (const char* path = std::getenv("FUSEGRAD_DATA_PATH")) search.data_path = path;
  search.model_file = job.model_file;
  return search;
}

Expected<int> run_evaluation(const JobTable& job, const ApplyRun& run) {
  const IgnoredSignal no_pipe_signal(SIGPIPE);
  const StopOnSignal signals;
  const ApplyOptions options = options_of(run, signals);
  Expected<Evaluated> evaluated =
      evaluate_weights(job, run.split, search_for(job, run.data_dir), options);
  if (!evaluated) return evaluated.error();
  const std::string line = run.json ? evaluation_json(*evaluated) : evaluation_line(*evaluated);
  if (const int error = write_all(1, line + "\n")) {
    return Failure{ExitCode::usage, fmt::format("standard output: {}", system_message(error)), {}};
  }
  return ExitCode::done;
}

Expected<int> run_prediction(const JobTable& job, const ApplyRun& run) {
  const IgnoredSignal no_pipe_signal(SIGPIPE);
  const StopOnSignal signals;
  // Before the work: what is certain to fail at its end.
  Expected<Unit> possible =
      check_output_name(run.output, std::max<size_t>(predicted_outputs(job), 1));
  if (!possible) return possible.error();
  std::vector<std::string> read = {run.weights, job.model_file};
  for (const auto& [name, path] : run.inputs) read.push_back(path);
  for (const std::string& path : read) {
    if (!same_file(run.output, path)) continue;
    return Failure{ExitCode::usage,
                   fmt::format("the predictions {} would be written over {}", quoted(run.output),
                               quoted(path)),
                   {}};
  }
  const ApplyOptions options = options_of(run, signals);
  Expected<std::vector<OutputValues>> outputs = predict(job, run.inputs, options);
  if (!outputs) return outputs.error();
  warn_about_scale(job, run);
  Expected<Unit> written = write_outputs(run.output, *outputs);
  if (!written) return written.error();
  return ExitCode::done;
}

}  // namespace fusegrad::runtime
