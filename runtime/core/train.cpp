// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The story of a run on one page: data, memory, init, epochs, weights.
#include "runtime/core/train.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int signal_of(const TrainOptions& options) {
  return options.limits.stop == nullptr ? 0 : options.limits.stop->load(std::memory_order_relaxed);
}

Failure interrupted_failure(int signal_number) {
  return {ExitCode::interrupted_by(signal_number), "interrupted", {}};
}

/// What is known about the run when it ends, however it ends.
struct Run {
  TrainOutcome outcome;
  Report report;
  bool missed_target = false;
};

/// The value that a target is about; nothing where it was not measured.
std::optional<double> value_of(const EpochRecord& record, const std::string& metric,
                               bool validated) {
  const std::vector<Metric>& metrics = validated ? record.validation_metrics : record.metrics;
  if (metric == "loss") return validated ? record.validation_loss : record.loss;
  for (const Metric& found : metrics) {
    if (found.label == metric) return found.value;
  }
  return std::nullopt;
}

/// The weights and states of the epoch with the lowest loss.
class BestEpoch {
 public:
  /// Keeps the session as it is if the loss is the lowest so far.
  void judge(const Session& session, int64_t epoch, double loss) {
    if (epoch_ != 0 && !(loss < loss_)) return;
    epoch_ = epoch;
    loss_ = loss;
    kept_.clear();
    for (const NamedBuffer& buffer : all_buffers(session)) {
      kept_.emplace_back(buffer.data, buffer.data + bytes_of(buffer));
    }
  }

  void restore(const Session& session) const {
    const std::vector<NamedBuffer> buffers = all_buffers(session);
    for (size_t i = 0; i < buffers.size(); ++i) {
      std::copy(kept_[i].begin(), kept_[i].end(), buffers[i].data);
    }
  }

  int64_t epoch() const { return epoch_; }

 private:
  static std::vector<NamedBuffer> all_buffers(const Session& session) {
    std::vector<NamedBuffer> buffers = session.buffers(BufferKind::parameter);
    for (NamedBuffer& state : session.buffers(BufferKind::state)) {
      buffers.push_back(std::move(state));
    }
    return buffers;
  }

  static int64_t bytes_of(const NamedBuffer& buffer) {
    return buffer.layout.physical_elements() * element_size(buffer.element);
  }

  int64_t epoch_ = 0;
  double loss_ = 0;
  std::vector<std::vector<std::byte>> kept_;
};

std::optional<Failure> check_options(const JobTable& job, const TrainOptions& options) {
  const TrainSettings& settings = job.settings;
  RUNTIME_CHECK(settings.batch > 0 && settings.epochs >= 0, "batch {}, epochs {}", settings.batch,
                settings.epochs);
  if (options.save_path.empty()) return std::nullopt;
  if (Expected<Unit> usable = check_save_target(options.save_path); !usable) return usable.error();
  const auto clash = [&](const std::string& other) {
    return Failure{ExitCode::usage,
                   fmt::format("the weights {} would be written over {}", quoted(options.save_path),
                               quoted(other)),
                   {}};
  };
  if (same_file(options.save_path, job.model_file)) return clash(job.model_file);
  if (options.log != nullptr && same_file(options.save_path, options.log->path())) {
    return clash(options.log->path());
  }
  return std::nullopt;
}

/// Prints what was loaded, and finds what only the sizes of the data tell.
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

Failure non_finite_failure(const NonFiniteLoss& problem, bool validation) {
  const std::string where = fmt::format("epoch {}, step {}", problem.epoch, problem.step);
  return {ExitCode::numbers,
          validation ? fmt::format("the validation loss is {} after {}", problem.value, where)
                     : fmt::format("the loss is {} in {}; training stopped", problem.value, where),
          {}};
}

std::optional<Failure> save(const Session& session, const TrainOptions& options) {
  if (options.save_path.empty()) return std::nullopt;
  Expected<Unit> saved =
      write_safetensors(options.save_path, parameters_of(session), options.metadata);
  if (!saved) return saved.error();
  return std::nullopt;
}

/// Writes a learning rate over the model's.
std::optional<Failure> set_learning_rate(const JobTable& job, const Session& session, double rate) {
  if (job.settings.learning_rate) {
    for (const NamedBuffer& state : session.buffers(BufferKind::state)) {
      if (state.name != job.settings.learning_rate->state) continue;
      RUNTIME_CHECK(state.element == ElementType::f64 && state.layout.natural_elements() == 1,
                    "{} is no number", state.name);
      std::memcpy(state.data, &rate, sizeof rate);
      return std::nullopt;
    }
  }
  return Failure{
      ExitCode::usage, "the learning rate cannot be set: no program reads one from a setting", {}};
}

std::optional<Failure> run_epochs(const JobTable& job, const Dataset& dataset,
                                  const TrainOptions& options, Run& run) {
  if (std::optional<Failure> failure = check_data(job, dataset, options, run.report))
    return failure;
  Expected<std::unique_ptr<ThreadTeam>> team =
      ThreadTeam::start(options.threads == 0 ? usable_cores() : options.threads);
  if (!team) return team.error();
  Expected<std::unique_ptr<Session>> created = Session::create(job, **team);
  if (!created) return created.error();
  Session& session = **created;
  session.initialise();
  if (options.learning_rate) {
    if (auto failure = set_learning_rate(job, session, *options.learning_rate)) return failure;
  }

  const Split& train_split = *dataset.find("train");
  const Split* validation =
      session.has_program("eval") ? dataset.find(validation_split(job.data)) : nullptr;
  const int64_t epochs = job.settings.epochs;
  const TrainSettings& settings = job.settings;
  const auto begin = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point> deadline;
  // A limit beyond a hundred years is none.
  if (settings.time_limit > 0 && settings.time_limit < 3e9) {
    deadline = begin + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                           std::chrono::duration<double>(settings.time_limit));
  }
  BestEpoch best;
  run.missed_target = settings.target.has_value();
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    PassControls controls;
    controls.stop = options.limits.stop;
    controls.deadline = deadline;
    if (run.report.wants_progress()) {
      controls.progress = [&](const PassProgress& pass) {
        run.report.progress(epoch, epochs, pass);
      };
    }
    const auto start = std::chrono::steady_clock::now();
    const PassResult trained = session.train_epoch(train_split, epoch, epochs, controls);
    EpochRecord record;
    record.seconds = seconds_since(start);
    run.outcome.steps += trained.steps;
    run.outcome.samples += trained.samples;
    if (trained.non_finite) return non_finite_failure(*trained.non_finite, false);
    if (trained.interrupted) break;
    record.epoch = epoch;
    record.epochs = epochs;
    record.loss = trained.loss;
    record.metrics = trained.metrics;

    std::optional<NonFiniteLoss> bad_validation;
    const bool out_of_time =
        trained.timed_out || (deadline && std::chrono::steady_clock::now() >= *deadline);
    const bool is_judged =
        validation == nullptr || out_of_time || epoch == epochs || epoch % settings.eval_every == 0;
    if (validation != nullptr && is_judged) {
      PassControls quiet_controls;
      quiet_controls.stop = options.limits.stop;
      const PassResult judged = session.evaluate(*validation, epoch, quiet_controls);
      if (judged.interrupted) break;
      bad_validation = judged.non_finite;
      record.validation_loss = bad_validation ? bad_validation->value : judged.loss;
      record.validation_metrics = judged.metrics;
    }
    run.report.epoch(record);
    if (options.log != nullptr) options.log->write(epoch_event(record));
    run.outcome.epochs.push_back(record);
    if (const std::optional<std::string> parameter = session.non_finite_parameter()) {
      return Failure{ExitCode::numbers,
                     fmt::format("parameter {} holds a value that is not finite after epoch {}, "
                                 "step {}",
                                 quoted(*parameter), epoch, session.steps_done()),
                     {}};
    }
    if (bad_validation) return non_finite_failure(*bad_validation, true);
    if (signal_of(options) != 0) break;
    const bool validated = validation != nullptr;
    if (settings.target && is_judged) {
      const std::optional<double> value = value_of(record, settings.target->metric, validated);
      RUNTIME_CHECK(value, "nothing measures {}", settings.target->metric);
      if (settings.target->holds(*value)) {
        run.missed_target = false;
        run.report.message(fmt::format("target reached in epoch {} after {:.3g} s: {}{} {}", epoch,
                                       seconds_since(begin), validated ? "val_" : "",
                                       settings.target->metric, short_number(*value)));
        break;
      }
    }
    if (settings.patience > 0 && is_judged) {
      best.judge(session, epoch, *value_of(record, "loss", validated));
      if (epoch - best.epoch() >= settings.patience && epoch < epochs) {
        run.report.message(
            fmt::format("no lower loss for {} epochs; training ends", epoch - best.epoch()));
        break;
      }
    }
    if (out_of_time) {
      if (epoch < epochs || trained.timed_out) {
        run.report.message(fmt::format("the time limit of {:.3g} s ends training in epoch {}",
                                       settings.time_limit, epoch));
      }
      break;
    }
  }
  if (best.epoch() != 0 && best.epoch() != static_cast<int64_t>(run.outcome.epochs.size()) &&
      signal_of(options) == 0) {
    best.restore(session);
    run.report.message(
        fmt::format("the weights are those of epoch {}, which had the lowest loss", best.epoch()));
  }
  if (run.missed_target && signal_of(options) == 0) {
    run.report.message(fmt::format("the target for {} was not reached", settings.target->metric));
  }
  // Also after a signal: the step it met is complete, and hours of work are not to be lost.
  return save(session, options);
}

/// Runs `work` between the checks before it and the event after it, which is written in every case.
template <typename Work>
Expected<TrainOutcome> framed(const JobTable& job, const TrainOptions& options, Work work) {
  const IgnoredSignal no_pipe_signal(SIGPIPE);
  const IgnoredSignal no_size_signal(SIGXFSZ);
  const auto start = std::chrono::steady_clock::now();
  Run run{{}, Report(options.display)};
  std::optional<Failure> failure = check_options(job, options);
  if (!failure) failure = work(run);
  run.report.clear_bar();
  run.outcome.exit_code = failure             ? failure->exit_code
                          : run.missed_target ? ExitCode::answer_is_no
                                              : ExitCode::done;
  if (!failure && signal_of(options) != 0) {
    run.outcome.exit_code = ExitCode::interrupted_by(signal_of(options));
  }
  run.outcome.seconds = seconds_since(start);
  if (options.log != nullptr) {
    options.log->write(
        end_event({run.outcome.exit_code, static_cast<int64_t>(run.outcome.epochs.size()),
                   run.outcome.steps, run.outcome.samples, run.outcome.seconds}));
  }
  if (failure) return *failure;
  return run.outcome;
}

}  // namespace

std::vector<std::string> needed_splits(const JobTable& job) {
  std::vector<std::string> splits = {"train"};
  const bool has_eval =
      std::any_of(job.programs.begin(), job.programs.end(),
                  [](const ProgramTable& program) { return program.name == "eval"; });
  const std::string validation = validation_split(job.data);
  if (has_eval && !validation.empty()) splits.push_back(validation);
  return splits;
}

Expected<Dataset> load_for_training(const JobTable& job, const TrainOptions& options) {
  Expected<Dataset, DataFailure> dataset =
      load_dataset(job.inputs, job.data, needed_splits(job), options.search,
                   options.threads == 0 ? usable_cores() : options.threads, options.limits);
  if (dataset) return std::move(*dataset);
  if (dataset.error().kind == DataFailureKind::interrupted) {
    return interrupted_failure(signal_of(options));
  }
  return to_failure(dataset.error());
}

Expected<TrainOutcome> train(const JobTable& job, const Dataset& dataset,
                             const TrainOptions& options) {
  return framed(job, options, [&](Run& run) { return run_epochs(job, dataset, options, run); });
}

Expected<TrainOutcome> train(const JobTable& job, const TrainOptions& options) {
  return framed(job, options, [&](Run& run) -> std::optional<Failure> {
    Expected<Dataset> dataset = load_for_training(job, options);
    if (!dataset) return dataset.error();
    return run_epochs(job, *dataset, options, run);
  });
}

}  // namespace fusegrad::runtime
