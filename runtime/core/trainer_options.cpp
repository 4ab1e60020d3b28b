// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A table of options and forty lines that read it: a library for it would be larger than the
// trainer.
#include "runtime/core/trainer_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/core/checkpoint.h"
#include "runtime/core/column.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/nearest.h"
#include "runtime/core/text_values.h"
#include "runtime/core/thread_team.h"

namespace fusegrad::runtime {

namespace {

Failure wrong_usage(std::string message) {
  return {ExitCode::usage, std::move(message) + "; --help lists the options", {}};
}

struct Option {
  std::string_view name;
  std::string_view short_name;
  std::string_view value;  ///< the word for it in the help; "" for a flag
  std::string_view help;
};

constexpr Option known_options[] = {
    {"--data", "", "DIR", "first folder in which data files are looked for"},
    {"--epochs", "", "N", "passes over the training data"},
    {"--lr", "", "X", "the optimizer's `lr` argument"},
    {"--seed", "", "N", "of shuffling and random numbers"},
    {"--max-time", "", "X", "seconds of training after which it ends, at the end of a step"},
    {"--threads", "", "N", "threads (default: all processors)"},
    {"--save", "", "FILE", "write the weights here at the end (safetensors)"},
    {"--checkpoint-dir", "", "DIR", "keep the last two checkpoints and the best one here"},
    {"--save-every", "", "N|Ne", "steps or epochs from one checkpoint to the next (default: 1e)"},
    {"--resume", "", "PATH", "go on from a checkpoint, or from the newest in a folder"},
    {"--init-from", "", "FILE", "begin with the weights of another run, by name"},
    {"--rename", "", "OLD=NEW", "what a layer or tensor of --init-from is called here"},
    {"--log-json", "", "FILE", "one JSON object a line"},
    {"--eval-only", "", "", "train nothing: loss and metrics of --weights"},
    {"--predict", "", "FILE", "train nothing: outputs for --input into a file .npy, .npz or .csv"},
    {"--weights", "", "FILE", "a file of --save, or a checkpoint"},
    {"--input", "", "NAME=FILE", "records to predict: .npy, .npz, .csv or IDX"},
    {"--split", "", "NAME", "what --eval-only is about (default: the validation split)"},
    {"--json", "", "", "what --eval-only finds as one JSON object"},
    {"--quiet", "-q", "", "no epoch lines"},
    {"--help", "-h", "", "this text"},
};

Failure unknown_option(std::string_view name) {
  std::vector<std::string> names;
  for (const Option& option : known_options) names.emplace_back(option.name);
  std::string message = fmt::format("unknown option {}", quoted(name));
  if (const auto nearest = nearest_name(name, names, 2)) {
    message += fmt::format(", did you mean `{}`?", *nearest);
  }
  return wrong_usage(std::move(message));
}

Expected<int64_t> number(std::string_view name, std::string_view text, int64_t least,
                         int64_t most) {
  const std::optional<int64_t> value = whole_number(text);
  if (!value || *value < least || *value > most) {
    return wrong_usage(
        fmt::format("{} takes a number from {} to {}, not {}", name, least, most, quoted(text)));
  }
  return *value;
}

/// A number whose magnitude f32 can hold: beyond that it would be infinite for the optimizer.
std::optional<double> real_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max()))) {
    return std::nullopt;
  }
  return value;
}

std::optional<Failure> set_option(const Option& option, std::string_view value,
                                  TrainerOptions& options) {
  const auto set_number = [&](auto& target, int64_t least, int64_t most) -> std::optional<Failure> {
    Expected<int64_t> read = number(option.name, value, least, most);
    if (!read) return read.error();
    target = static_cast<std::remove_reference_t<decltype(target)>>(*read);
    return std::nullopt;
  };
  const auto set_path = [&](std::string& target) -> std::optional<Failure> {
    if (value.empty()) return wrong_usage(fmt::format("{} is empty", option.name));
    target = value;
    return std::nullopt;
  };
  if (option.name == "--help") options.help = true;
  if (option.name == "--quiet") options.run.quiet = true;
  if (option.name == "--lr") {
    options.run.learning_rate = real_number(value);
    if (!options.run.learning_rate) {
      return wrong_usage(fmt::format("--lr takes a number such as 0.01, not {}", quoted(value)));
    }
  }
  if (option.name == "--max-time") {
    options.max_time = real_number(value);
    if (!options.max_time || *options.max_time <= 0) {
      return wrong_usage(
          fmt::format("--max-time takes seconds such as 3600, not {}", quoted(value)));
    }
  }
  if (option.name == "--data") return set_path(options.run.data_dir);
  if (option.name == "--save") return set_path(options.run.save_path);
  if (option.name == "--eval-only") options.work = TrainerOptions::Work::evaluate;
  if (option.name == "--predict") {
    options.work = TrainerOptions::Work::predict;
    return set_path(options.apply.output);
  }
  if (option.name == "--weights") return set_path(options.apply.weights);
  if (option.name == "--split") return set_path(options.apply.split);
  if (option.name == "--json") options.apply.json = true;
  if (option.name == "--input") {
    Expected<Unit> added = add_input(value, options.apply.inputs);
    if (!added) return added.error();
  }
  if (option.name == "--checkpoint-dir") return set_path(options.run.checkpoints.folder);
  if (option.name == "--init-from") return set_path(options.run.checkpoints.init_from);
  if (option.name == "--rename") {
    Expected<Unit> added = add_rename(value, options.run.checkpoints.renames);
    if (!added) return added.error();
  }
  if (option.name == "--resume") return set_path(options.run.checkpoints.resume);
  if (option.name == "--save-every") {
    Expected<SaveEvery> every = save_every_option(value);
    if (!every) return every.error();
    options.run.checkpoints.every = *every;
  }
  if (option.name == "--log-json") return set_path(options.run.log_path);
  if (option.name == "--epochs") return set_number(options.run.checkpoints.epochs, 1, most_epochs);
  if (option.name == "--threads")
    return set_number(options.run.threads, 1, ThreadTeam::largest_thread_count);
  if (option.name == "--seed") {
    return set_number(options.run.checkpoints.seed, 0, std::numeric_limits<int64_t>::max());
  }
  return std::nullopt;
}

/// Options of one kind of work that are given for another.
std::optional<Failure> check_work(TrainerOptions& options) {
  using Work = TrainerOptions::Work;
  ApplyRun& apply = options.apply;
  const bool trains = options.work == Work::train;
  if (trains && !apply.weights.empty()) {
    return wrong_usage("--weights belongs to --eval-only and --predict");
  }
  if (!trains && apply.weights.empty()) {
    return wrong_usage("--eval-only and --predict need trained weights: --weights FILE");
  }
  if (options.work != Work::evaluate && (!apply.split.empty() || apply.json)) {
    return wrong_usage("--split and --json belong to --eval-only");
  }
  if (options.work != Work::predict && !apply.inputs.empty()) {
    return wrong_usage("--input belongs to --predict");
  }
  apply.data_dir = options.run.data_dir;
  apply.threads = options.run.threads;
  return std::nullopt;
}

}  // namespace

Expected<TrainerOptions> parse_trainer_options(std::span<const char* const> arguments,
                                               const JobTable& job) {
  TrainerOptions options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string_view::npos;
    const std::string_view name = argument.substr(0, equals);
    if (name == "--batch") {
      return wrong_usage(fmt::format(
          "the batch of {} rows is compiled into this trainer: `fusegrad build --batch` makes "
          "another",
          job.settings.batch));
    }
    if (name == "--lr" && !job.settings.learning_rate) {
      return wrong_usage("the optimizer of this trainer has no argument `lr`");
    }
    const auto* option = std::find_if(
        std::begin(known_options), std::end(known_options), [&](const Option& candidate) {
          return name == candidate.name ||
                 (!candidate.short_name.empty() && name == candidate.short_name);
        });
    if (option == std::end(known_options)) {
      if (name.starts_with("-")) return unknown_option(name);
      return wrong_usage(fmt::format("{} is no option", quoted(argument)));
    }
    std::string_view value;
    if (option->value.empty()) {
      if (equals != std::string_view::npos) {
        return wrong_usage(fmt::format("{} takes no value", option->name));
      }
    } else if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return wrong_usage(fmt::format("{} needs a value: {} {}", name, name, option->value));
    }
    if (std::optional<Failure> failure = set_option(*option, value, options)) return *failure;
  }
  if (options.help) return options;
  if (std::optional<Failure> failure = check_work(options)) return *failure;
  return options;
}

std::string trainer_help(std::string_view program, const JobTable& job) {
  std::string text = fmt::format("Trains {}, in batches of {} rows.\n\nUsage: {} [OPTIONS]\n\n",
                                 job.model_name, job.settings.batch, program);
  for (const Option& option : known_options) {
    std::string names = option.short_name.empty() ? "    " : fmt::format("{}, ", option.short_name);
    names += option.name;
    if (!option.value.empty()) names += fmt::format(" {}", option.value);
    std::string help(option.help);
    if (option.name == "--epochs") help += fmt::format(" (default: {})", job.settings.epochs);
    const std::optional<LearningRate>& rate = job.settings.learning_rate;
    if (option.name == "--lr") {
      if (!rate) continue;
      const bool is_number = std::isfinite(rate->value);
      help += fmt::format(" (default: {})",
                          is_number ? fmt::format("{}", rate->value) : "as the model says");
    }
    if (option.name == "--seed") help += fmt::format(" (default: {})", job.settings.seed);
    text += fmt::format("  {:<24} {}\n", names, help);
  }
  text +=
      "\nData, looked for in --data, FUSEGRAD_DATA_PATH, the trainer's folder and "
      "/usr/share/datasets:\n";
  for (const DataEntry& entry : job.data) {
    std::string type;
    for (const InputEntry& input : job.inputs) {
      if (input.name == entry.input) type = type_text(input.element, input.row_shape);
    }
    text += fmt::format("  {}.{}  {}  {}(\"{}\")\n", entry.split, entry.input, type, entry.reader,
                        entry.path);
  }
  return text;
}

}  // namespace fusegrad::runtime
