// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Between two steps the state is whole: there a run pauses to be saved, stops when it is asked to,
// and goes on.
#include "runtime/core/epoch_loop.h"

#include <algorithm>

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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

Failure non_finite_failure(const NonFiniteLoss& problem, bool validation) {
  const std::string where = fmt::format("epoch {}, step {}", problem.epoch, problem.step);
  return {ExitCode::numbers,
          validation ? fmt::format("the validation loss is {} after {}", problem.value, where)
                     : fmt::format("the loss is {} in {}; training stopped", problem.value, where),
          {}};
}

/// A word as a shell takes it.
std::string shell_word(const std::string& word) {
  const bool is_plain = !word.empty() && word.find_first_not_of(
                                             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789_-./=:,@%+") == std::string::npos;
  if (is_plain) return word;
  std::string text = "'";
  for (const char character : word) {
    text += character == '\'' ? std::string("'\\''") : std::string(1, character);
  }
  return text + "'";
}

/// The command with `--resume` of this folder in place of where it began.
std::string resume_command(const std::vector<std::string>& command, const std::string& folder) {
  std::string text;
  for (size_t i = 0; i < command.size(); ++i) {
    const bool is_place = command[i] == "--resume" || command[i] == "--checkpoint-dir";
    if (is_place) ++i;
    if (is_place || command[i].starts_with("--resume=") ||
        command[i].starts_with("--checkpoint-dir=")) {
      continue;
    }
    text += shell_word(command[i]) + " ";
  }
  return text + "--resume " + shell_word(folder);
}

}  // namespace

EpochLoop::EpochLoop(const JobTable& job, const Dataset& dataset, const TrainOptions& options,
                     const FoundCheckpoint* resumed, CheckpointFolder* folder, Session& session,
                     Report& report, TrainOutcome& outcome)
    : job_(job),
      options_(options),
      resumed_(resumed),
      folder_(folder),
      session_(session),
      report_(report),
      outcome_(outcome),
      train_split_(*dataset.find("train")),
      best_(job.settings.patience > 0) {
  if (session.has_program("eval")) validation_ = dataset.find(validation_split(job.data));
}

double EpochLoop::seconds_so_far() const { return seconds_before_ + seconds_since(start_); }

int64_t EpochLoop::steps_of_epoch() const {
  return Session::steps_per_epoch(job_.settings, train_split_.samples);
}

std::optional<Failure> EpochLoop::begin() {
  session_.initialise();
  start_ = Clock::now();
  state_.epochs = job_.settings.epochs;
  if (folder_ != nullptr || resumed_ != nullptr) state_.data = fingerprint(train_split_);
  if (resumed_ != nullptr) {
    const Checkpoint& checkpoint = resumed_->checkpoint;
    const RunState& from = checkpoint.state;
    if (from.data != state_.data || from.sums.steps > steps_of_epoch()) {
      return Failure{ExitCode::checkpoint,
                     fmt::format("the checkpoint {} was trained on other data: {} examples with "
                                 "checksum {:08x}, not {} with {:08x}\n"
                                 "  = help: `--init-from` starts a new run from its weights",
                                 quoted(checkpoint.path), from.data.samples, from.data.checksum,
                                 state_.data.samples, state_.data.checksum),
                     {}};
    }
    if (auto failure = restore(checkpoint, session_, best_)) return failure;
    state_ = from;
    state_.epochs = job_.settings.epochs;
    seconds_before_ = from.seconds;
    is_saved_ = folder_ != nullptr && folder_->last_file() == checkpoint.path &&
                !options_.learning_rate && from.epochs == state_.epochs;
    report_.message(fmt::format("resumed from {}: epoch {}, step {}", quoted(checkpoint.path),
                                state_.epoch, state_.step));
  }
  const CheckpointOptions& checkpoints = options_.checkpoints;
  if (!checkpoints.init_from.empty()) {
    Expected<std::string> taken = init_from(checkpoints.init_from, checkpoints.renames, session_);
    if (!taken) return taken.error();
    report_.message(*taken);
  }
  if (options_.learning_rate && !session_.set_learning_rate(*options_.learning_rate)) {
    return Failure{ExitCode::usage,
                   "the learning rate cannot be set: no program reads one from a setting",
                   {}};
  }
  const double limit = job_.settings.time_limit;
  // A limit beyond a hundred years is none.
  if (limit > 0 && limit < 3e9) {
    deadline_ = start_ + std::chrono::duration_cast<Clock::duration>(
                             std::chrono::duration<double>(std::max(0.0, limit - seconds_before_)));
  }
  return std::nullopt;
}

std::optional<Failure> EpochLoop::run() {
  Next next = has_ended_before() ? Next::end : Next::epoch;
  while (next == Next::epoch && state_.epoch <= state_.epochs) {
    if (auto failure = one_epoch(next)) return failure;
  }
  return finish();
}

/// A run that had come to its end goes on only where it was given more to do.
bool EpochLoop::has_ended_before() {
  if (resumed_ == nullptr) return false;
  const TrainSettings& settings = job_.settings;
  if (state_.target_reached && settings.target) {
    report_.message("the target had been reached");
    return true;
  }
  state_.target_reached = false;
  const int64_t without_better = state_.epoch - 1 - best_.epoch();
  if (settings.patience > 0 && best_.epoch() != 0 && without_better >= settings.patience) {
    report_.message(fmt::format("no lower loss for {} epochs; training had ended", without_better));
    return true;
  }
  return settings.time_limit > 0 && seconds_before_ >= settings.time_limit;
}

std::optional<Failure> EpochLoop::training_pass(PassResult& trained) {
  PassControls controls;
  controls.stop = options_.limits.stop;
  controls.deadline = deadline_;
  if (report_.wants_progress()) {
    controls.progress = [&](const PassProgress& pass) {
      report_.progress(state_.epoch, state_.epochs, pass);
    };
  }
  const std::optional<SaveEvery>& every = options_.checkpoints.every;
  const bool pauses = folder_ != nullptr && every && !every->epochs;
  while (true) {
    const int64_t first_step = state_.step - state_.sums.steps;  // of the epoch
    if (pauses) controls.pause_after = (state_.step / every->count + 1) * every->count - first_step;
    trained =
        session_.train_epoch(train_split_, state_.epoch, state_.epochs, controls, &state_.sums);
    state_.step += trained.steps;
    outcome_.steps += trained.steps;
    outcome_.samples += trained.samples;
    if (trained.steps > 0) is_saved_ = false;
    if (trained.non_finite) return non_finite_failure(*trained.non_finite, false);
    if (!trained.paused) return std::nullopt;
    if (auto failure = save_checkpoint(false)) return failure;
    if (options_.limits.stopped()) {
      trained.interrupted = true;
      return std::nullopt;
    }
  }
}

std::optional<Failure> EpochLoop::one_epoch(Next& next) {
  const TrainSettings& settings = job_.settings;
  next = Next::end;
  const auto start = Clock::now();
  PassResult trained;
  if (auto failure = training_pass(trained)) return failure;
  EpochRecord record;
  record.seconds = seconds_since(start);
  if (trained.interrupted) return std::nullopt;
  const int64_t epoch = state_.epoch;
  record.epoch = epoch;
  record.epochs = state_.epochs;
  record.loss = trained.loss;
  record.metrics = trained.metrics;

  std::optional<NonFiniteLoss> bad_validation;
  const bool out_of_time = trained.timed_out || (deadline_ && Clock::now() >= *deadline_);
  const bool is_judged = validation_ == nullptr || out_of_time || epoch == state_.epochs ||
                         epoch % settings.eval_every == 0;
  if (validation_ != nullptr && is_judged) {
    PassControls quiet_controls;
    quiet_controls.stop = options_.limits.stop;
    const PassResult judged = session_.evaluate(*validation_, epoch, quiet_controls);
    // The pass is done again by the run that goes on.
    if (judged.interrupted) return std::nullopt;
    bad_validation = judged.non_finite;
    record.validation_loss = bad_validation ? bad_validation->value : judged.loss;
    record.validation_metrics = judged.metrics;
  }
  report_.epoch(record);
  if (options_.log != nullptr) options_.log->write(epoch_event(record));
  outcome_.epochs.push_back(record);
  if (const std::optional<std::string> parameter = session_.non_finite_parameter()) {
    return Failure{
        ExitCode::numbers,
        fmt::format("parameter {} holds a value that is not finite after epoch {}, step {}",
                    quoted(*parameter), epoch, state_.step),
        {}};
  }
  if (bad_validation) return non_finite_failure(*bad_validation, true);
  if (!trained.timed_out) {
    ++state_.epoch;
    state_.sums = PassSums();
    is_saved_ = false;
  }
  next = Next::epoch;
  if (auto failure = judge(record, is_judged, next)) return failure;
  const SaveEvery every = options_.checkpoints.every.value_or(SaveEvery());
  if ((every.epochs ? epoch : state_.step) % every.count == 0) {
    if (auto failure = save_checkpoint(false)) return failure;
  }
  if (out_of_time) {
    if (epoch < state_.epochs || trained.timed_out) {
      report_.message(fmt::format("the time limit of {:.3g} s ends training in epoch {}",
                                  settings.time_limit, epoch));
    }
    next = Next::end;
  }
  if (options_.limits.stopped()) next = Next::end;
  return std::nullopt;
}

std::optional<Failure> EpochLoop::judge(const EpochRecord& record, bool is_judged, Next& next) {
  const TrainSettings& settings = job_.settings;
  const bool validated = validation_ != nullptr;
  if (options_.limits.stopped() || !is_judged) return std::nullopt;
  if (settings.target) {
    const std::optional<double> value = value_of(record, settings.target->metric, validated);
    RUNTIME_CHECK(value, "nothing measures {}", settings.target->metric);
    if (settings.target->holds(*value)) {
      state_.target_reached = true;
      report_.message(fmt::format("target reached in epoch {} after {:.3g} s: {}{} {}",
                                  record.epoch, seconds_so_far(), validated ? "val_" : "",
                                  settings.target->metric, short_number(*value)));
      next = Next::end;
    }
  }
  if (settings.patience == 0 && folder_ == nullptr) return std::nullopt;
  const bool is_best = best_.judge(session_, record.epoch, *value_of(record, "loss", validated));
  state_.best_epoch = best_.epoch();
  state_.best_loss = best_.loss();
  if (is_best) {
    if (auto failure = save_best()) return failure;
  }
  const int64_t without_better = record.epoch - best_.epoch();
  if (next == Next::epoch && settings.patience > 0 && without_better >= settings.patience &&
      record.epoch < state_.epochs) {
    report_.message(fmt::format("no lower loss for {} epochs; training ends", without_better));
    next = Next::end;
  }
  return std::nullopt;
}

std::optional<Failure> EpochLoop::finish() {
  if (folder_ != nullptr && !is_saved_) {
    if (auto failure = save_checkpoint(true)) return failure;
  }
  const TrainSettings& settings = job_.settings;
  int64_t step_of_weights = state_.step;
  if (options_.limits.stopped()) {
    say_how_to_go_on();
  } else {
    const int64_t last_epoch = state_.sums.steps > 0 ? state_.epoch : state_.epoch - 1;
    if (settings.patience > 0 && best_.epoch() != 0 && best_.epoch() != last_epoch) {
      best_.restore(session_);
      step_of_weights = best_.epoch() * steps_of_epoch();
      report_.message(fmt::format("the weights are those of epoch {}, which had the lowest loss",
                                  best_.epoch()));
    }
    if (missed_target()) {
      report_.message(fmt::format("the target for {} was not reached", settings.target->metric));
    }
  }
  // Also after a signal: the step it met is complete, and hours of work are not to be lost.
  if (options_.save_path.empty()) return std::nullopt;
  Metadata metadata = options_.metadata;
  metadata.emplace("step", fmt::format("{}", step_of_weights));
  Expected<Unit> saved = write_safetensors(options_.save_path, parameters_of(session_), metadata);
  if (!saved) return saved.error();
  return std::nullopt;
}

std::optional<Failure> EpochLoop::save_checkpoint(bool must_succeed) {
  if (folder_ == nullptr) return std::nullopt;
  state_.seconds = seconds_so_far();
  Expected<Unit> saved = folder_->save(job_, session_, state_, best_);
  is_saved_ = static_cast<bool>(saved);
  if (saved) return std::nullopt;
  if (must_succeed || saved.error().exit_code == ExitCode::numbers) return saved.error();
  report_.message(fmt::format("warning: {}; training goes on", saved.error().message));
  return std::nullopt;
}

std::optional<Failure> EpochLoop::save_best() {
  if (folder_ == nullptr) return std::nullopt;
  state_.seconds = seconds_so_far();
  Expected<Unit> saved = folder_->save_best(job_, session_, state_, best_);
  if (saved) return std::nullopt;
  if (saved.error().exit_code == ExitCode::numbers) return saved.error();
  report_.message(fmt::format("warning: {}; training goes on", saved.error().message));
  return std::nullopt;
}

void EpochLoop::say_how_to_go_on() {
  const std::string where =
      fmt::format("interrupted in epoch {} after step {}",
                  std::min(state_.epoch, std::max(state_.epochs, int64_t{1})), state_.step);
  if (folder_ == nullptr) {
    report_.message(where + "; without --checkpoint-dir it cannot be resumed");
    return;
  }
  report_.message(fmt::format("{}; the checkpoint is {}\nresume with: {}", where,
                              quoted(folder_->last_file()),
                              resume_command(options_.checkpoints.command, folder_->path())));
}

}  // namespace fusegrad::runtime
