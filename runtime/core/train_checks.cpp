// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files that a run reads are never those that it writes.
#include "runtime/core/train_checks.h"

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

std::optional<Failure> check_options(const JobTable& job, const TrainOptions& options) {
  const TrainSettings& settings = job.settings;
  RUNTIME_CHECK(settings.batch > 0 && settings.epochs >= 0, "batch {}, epochs {}", settings.batch,
                settings.epochs);
  if (options.checkpoints.every && options.checkpoints.folder.empty() &&
      options.checkpoints.resume.empty()) {
    return Failure{ExitCode::usage,
                   "--save-every needs a folder for the checkpoints: --checkpoint-dir DIR",
                   {}};
  }
  const CheckpointOptions& checkpoints = options.checkpoints;
  if (!checkpoints.init_from.empty() && !checkpoints.resume.empty()) {
    return Failure{ExitCode::usage,
                   "--resume goes on with a run, --init-from begins a new one; give one of them",
                   {}};
  }
  if (!checkpoints.renames.empty() && checkpoints.init_from.empty()) {
    return Failure{ExitCode::usage, "--rename belongs to --init-from", {}};
  }
  if (options.save_path.empty()) return std::nullopt;
  if (Expected<Unit> usable = check_save_target(options.save_path); !usable) return usable.error();
  const auto clash = [&](const std::string& other) {
    return Failure{ExitCode::usage,
                   fmt::format("the weights {} would be written over {}", quoted(options.save_path),
                               quoted(other)),
                   {}};
  };
  if (same_file(options.save_path, options.checkpoints.resume)) {
    return clash(options.checkpoints.resume);
  }
  if (same_file(options.save_path, job.model_file)) return clash(job.model_file);
  if (options.log != nullptr && same_file(options.save_path, options.log->path())) {
    return clash(options.log->path());
  }
  return std::nullopt;
}

std::optional<Failure> check_data(const JobTable& job, const Dataset& dataset,
                                  const TrainOptions& options, Report& report) {
  for (const Split& split : dataset.splits) {
    for (size_t i = 0; i < split.files.size(); ++i) {
      if (!options.save_path.empty() && same_file(options.save_path, split.files[i])) {
        return Failure{ExitCode::usage,
                       fmt::format("the weights {} would be written over the data {}",
                                   quoted(options.save_path), quoted(split.files[i])),
                       {}};
      }
      if (options.display.quiet) continue;
      report.message(fmt::format("data  {}.{}  {}  {}", split.name, job.inputs[i].name,
                                 split.files[i],
                                 type_text(split.columns[i].element, split.columns[i].shape)));
    }
  }
  const Split* train_split = dataset.find("train");
  RUNTIME_CHECK(train_split != nullptr, "split train is not loaded");
  const TrainSettings& settings = job.settings;
  if (settings.last == LastBatch::keep) return std::nullopt;
  const int64_t left_out = train_split->samples % settings.batch;
  if (left_out == train_split->samples) {
    DataFailure failure;
    failure.kind = DataFailureKind::no_records;
    failure.split = "train";
    failure.path = train_split->files.empty() ? "" : train_split->files[0];
    failure.message = fmt::format("split `train` holds {} records, fewer than one batch of {}",
                                  train_split->samples, settings.batch);
    failure.helps.push_back("`last = keep` trains on a short batch; or choose a smaller batch");
    return to_failure(std::move(failure));
  }
  if (left_out != 0) {
    report.message(
        fmt::format("warning[W0704]: {} of {} examples are left out of every epoch\n"
                    "  = help: `last = keep` trains on the short batch too",
                    left_out, train_split->samples));
  }
  return std::nullopt;
}

}  // namespace fusegrad::runtime
