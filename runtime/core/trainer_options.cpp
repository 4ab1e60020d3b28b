// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A table of options and forty lines that read it: a library for it would be larger than the
// trainer.
#include "runtime/core/trainer_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "runtime/core/column.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"

namespace fusegrad::runtime {

namespace {

constexpr int64_t most_epochs = int64_t{1} << 40;
constexpr int64_t most_threads = 1024;

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
    {"--threads", "", "N", "threads (default: all processors)"},
    {"--save", "", "FILE", "write the weights here at the end (safetensors)"},
    {"--log-json", "", "FILE", "one JSON object a line"},
    {"--quiet", "-q", "", "no epoch lines"},
    {"--help", "-h", "", "this text"},
};

/// Insertions, deletions and replacements that turn one word into the other.
size_t distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

Failure unknown_option(std::string_view name) {
  const Option* nearest = nullptr;
  size_t nearest_distance = 3;
  // A word of any length is compared with short ones only as far as it can matter.
  const std::string_view compared = name.substr(0, 64);
  for (const Option& option : known_options) {
    const size_t found = distance(compared, option.name);
    if (found >= nearest_distance) continue;
    nearest_distance = found;
    nearest = &option;
  }
  std::string message = fmt::format("unknown option {}", quoted(name));
  if (nearest != nullptr) message += fmt::format(", did you mean `{}`?", nearest->name);
  return wrong_usage(std::move(message));
}

Expected<int64_t> number(std::string_view name, std::string_view text, int64_t least,
                         int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return wrong_usage(
        fmt::format("{} takes a number from {} to {}, not {}", name, least, most, quoted(text)));
  }
  return value;
}

Expected<double> learning_rate(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // Beyond what f32 holds it would be infinite for the optimizer.
  const bool is_usable = std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max());
  if (error != std::errc() || end != text.data() + text.size() || !is_usable) {
    return wrong_usage(fmt::format("--lr takes a number such as 0.01, not {}", quoted(text)));
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
    Expected<double> read = learning_rate(value);
    if (!read) return read.error();
    options.run.learning_rate = *read;
  }
  if (option.name == "--data") return set_path(options.run.data_dir);
  if (option.name == "--save") return set_path(options.run.save_path);
  if (option.name == "--log-json") return set_path(options.run.log_path);
  if (option.name == "--epochs") return set_number(options.epochs, 1, most_epochs);
  if (option.name == "--threads") return set_number(options.run.threads, 1, most_threads);
  if (option.name == "--seed") {
    return set_number(options.seed, 0, std::numeric_limits<int64_t>::max());
  }
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
    text += fmt::format("  {:<21} {}\n", names, help);
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
