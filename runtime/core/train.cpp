// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The story of a run on one page: where it begins, data, memory, epochs, what is said at the end.
#include "runtime/core/train.h"

#include <algorithm>
#include <chrono>
#include <csignal>

#include "runtime/core/checkpoint_folder.h"
#include "runtime/core/epoch_loop.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/text_values.h"
#include "runtime/core/train_checks.h"

namespace fusegrad::runtime {

namespace {

/// What is known about the run when it ends, however it ends.
struct Run {
  JobTable job;  ///< with the settings of the options and of the checkpoint
  TrainOutcome outcome;
  Report report;
  std::optional<FoundCheckpoint> resumed;
  std::optional<CheckpointFolder> folder;
  bool missed_target = false;
};

/// Finds what the run goes on from, and where it keeps what others go on from.
std::optional<Failure> find_begin(const TrainOptions& options, Run& run) {
  const CheckpointOptions& wanted = options.checkpoints;
  TrainSettings& settings = run.job.settings;
  settings.epochs = wanted.epochs.value_or(settings.epochs);
  settings.seed = wanted.seed.value_or(settings.seed);
  std::string folder = wanted.folder;
  if (!wanted.resume.empty()) {
    Expected<FoundCheckpoint> found = find_checkpoint(wanted.resume);
    if (!found) return found.error();
    for (const std::string& reason : found->skipped) run.report.message("warning: " + reason);
    const Checkpoint& checkpoint = found->checkpoint;
    if (auto failure = check_fit(checkpoint, run.job)) return failure;
    if (wanted.seed && *wanted.seed != checkpoint.seed) {
      return Failure{ExitCode::usage,
                     fmt::format("the checkpoint {} was trained with seed {}, not {}; a run keeps "
                                 "its seed",
                                 quoted(checkpoint.path), checkpoint.seed, *wanted.seed),
                     {}};
    }
    settings.seed = checkpoint.seed;
    settings.epochs = wanted.epochs.value_or(checkpoint.state.epochs);
    if (checkpoint.model_text != run.job.model_text) {
      run.report.message(
          fmt::format("warning: the model file is not the one that the checkpoint {} was made with",
                      quoted(checkpoint.path)));
    }
    // A file alone says nothing about where the run lives; its folder does.
    const bool is_file = same_file(checkpoint.path, wanted.resume);
    if (folder.empty() && !is_file) folder = wanted.resume;
    run.resumed = std::move(*found);
  }
  if (folder.empty()) return std::nullopt;
  Expected<CheckpointFolder> opened =
      CheckpointFolder::open(folder, run.resumed ? &*run.resumed : nullptr);
  if (!opened) return opened.error();
  run.folder = std::move(*opened);
  return std::nullopt;
}

std::optional<Failure> run_epochs(const Dataset& dataset, const TrainOptions& options, Run& run) {
  if (std::optional<Failure> failure = check_data(run.job, dataset, options, run.report)) {
    return failure;
  }
  Expected<OpenSession> open = open_session(run.job, options.threads);
  if (!open) return open.error();
  EpochLoop loop(run.job, dataset, options, run.resumed ? &*run.resumed : nullptr,
                 run.folder ? &*run.folder : nullptr, *open->session, run.report, run.outcome);
  if (std::optional<Failure> failure = loop.begin()) return failure;
  // The session has its tensors now.
  if (run.resumed) run.resumed->checkpoint.file = {};
  std::optional<Failure> failure = loop.run();
  run.missed_target = loop.missed_target();
  return failure;
}

/// Runs `work` between the checks before it and the event after it, which is written in every case.
template <typename Work>
Expected<TrainOutcome> framed(const JobTable& job, const TrainOptions& options, Work work) {
  const IgnoredSignal no_pipe_signal(SIGPIPE);
  const IgnoredSignal no_size_signal(SIGXFSZ);
  const auto start = std::chrono::steady_clock::now();
  Run run{job, {}, Report(options.display), {}, {}};
  std::optional<Failure> failure = check_options(job, options);
  if (!failure) failure = find_begin(options, run);
  if (!failure) failure = work(run);
  run.report.clear_bar();
  run.outcome.exit_code = failure             ? failure->exit_code
                          : run.missed_target ? ExitCode::answer_is_no
                                              : ExitCode::done;
  if (!failure && options.limits.stopped()) {
    run.outcome.exit_code = ExitCode::interrupted_by(options.limits.signal());
  }
  run.outcome.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.log != nullptr) {
    options.log->write(
        end_event({run.outcome.exit_code, static_cast<int64_t>(run.outcome.epochs.size()),
                   run.outcome.steps, run.outcome.samples, run.outcome.seconds}));
  }
  if (failure) return *failure;
  return run.outcome;
}

}  // namespace

std::optional<SaveEvery> parse_save_every(std::string_view text) {
  const bool epochs = text.ends_with('e');
  if (epochs) text.remove_suffix(1);
  const std::optional<int64_t> count = whole_number(text);
  constexpr int64_t most = int64_t{1} << 40;
  if (!count || *count < 1 || *count > most) return std::nullopt;
  return SaveEvery{*count, epochs};
}

std::vector<std::string> needed_splits(const JobTable& job) {
  std::vector<std::string> splits = {"train"};
  const std::string validation = validation_split(job.data);
  if (job.find_program("eval") != nullptr && !validation.empty()) splits.push_back(validation);
  return splits;
}

Expected<Dataset> load_for_training(const JobTable& job, const TrainOptions& options) {
  Expected<Dataset, DataFailure> dataset =
      load_dataset(job.inputs, job.data, needed_splits(job), options.search,
                   chosen_threads(options.threads), options.limits);
  if (!dataset) return to_failure(dataset.error(), options.limits);
  return std::move(*dataset);
}

Expected<TrainOutcome> train(const JobTable& job, const Dataset& dataset,
                             const TrainOptions& options) {
  return framed(job, options, [&](Run& run) { return run_epochs(dataset, options, run); });
}

Expected<TrainOutcome> train(const JobTable& job, const TrainOptions& options) {
  return framed(job, options, [&](Run& run) -> std::optional<Failure> {
    Expected<Dataset> dataset = load_for_training(job, options);
    if (!dataset) return dataset.error();
    return run_epochs(*dataset, options, run);
  });
}

}  // namespace fusegrad::runtime
