// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading the blocks that say how to train.
#include "frontend/elaborate_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <utility>

namespace fusegrad::frontend {

using ast::ExpressionKind;

namespace {

constexpr std::array<std::string_view, 14> supported_keys = {
    "model",   "data", "batch",  "epochs",     "optimizer", "transforms", "seed",
    "shuffle", "last", "target", "time_limit", "patience",  "eval_every", "precision"};
constexpr std::array<std::string_view, 2> later_keys = {"checkpoint", "log_every"};
/// Among the values of the command line: the name of a train block.
constexpr std::string_view block_option = "train";
constexpr std::array<std::string_view, 2> dropped_keys = {"deterministic", "strict"};

template <typename Array>
bool contains(const Array& array, std::string_view word) {
  return std::find(array.begin(), array.end(), word) != array.end();
}

/// Reads one train block with the command line's values in front of it.
class TrainReader {
 public:
  TrainReader(const Definitions& definitions, const CommandLineValues& command_line,
              const ElaborateOptions& options, uint32_t model_file, const SourceManager& sources,
              Elaborator& elaborator, Reporter& reporter)
      : definitions_(definitions),
        options_(options),
        model_file_(model_file),
        sources_(sources),
        elaborator_(elaborator),
        reporter_(reporter) {
    choose_block(command_line);
    if (train_ != nullptr) {
      for (const ast::Entry& entry : train_->entries) {
        entries_[entry.key.text] = &entry;
        check_key(entry, false);
      }
    }
    for (const auto& [key, entry] : command_line.train) {
      if (key == block_option) continue;
      entries_[key] = &entry;
      check_key(entry, true);
    }
  }

  TrainPlan read() {
    TrainPlan plan;
    plan.model = read_model();
    plan.data = read_data();
    read_batch(plan);
    if (const ast::Entry* entry = find("epochs")) {
      plan.settings.epochs = number(*entry, 1, int64_t{1} << 40).value_or(0);
    } else if (needs(options_.needs_epochs)) {
      report_missing("epochs", "epochs = 10", "--epochs 10");
    }
    if (const ast::Entry* entry = find("seed")) {
      plan.settings.seed = number(*entry, 0, std::numeric_limits<int64_t>::max()).value_or(0);
    }
    if (const ast::Entry* entry = find("shuffle")) {
      plan.settings.shuffle = boolean(*entry).value_or(true);
    }
    if (const ast::Entry* entry = find("last")) {
      plan.settings.keep_last = word(*entry, {"drop", "keep"}) == "keep";
    }
    read_end(plan.settings);
    if (const ast::Entry* entry = find("transforms")) read_transforms(*entry, plan);
    read_precision(plan);
    if (const ast::Entry* entry = find("optimizer")) {
      read_optimizer(*entry, plan);
    } else if (needs(options_.needs_optimizer)) {
      report_missing("optimizer", "optimizer = sgd(lr = 0.1)", "");
    }
    return plan;
  }

 private:
  const ast::Entry* find(std::string_view key) const {
    auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : found->second;
  }

  /// Whether what the command needs is needed from this file.
  bool needs(bool by_command) const {
    return by_command && (train_ != nullptr || options_.needs_train_block);
  }

  /// The word `train`; the whole block is too long to underline.
  static Span word_of(const ast::Train& block) {
    Span span = block.span;
    span.end = std::min(span.end, span.begin + 5);
    return span;
  }

  /// The place to point to for what is missing.
  Span block_span() const {
    if (train_ != nullptr) return word_of(*train_);
    const auto end = static_cast<uint32_t>(sources_.text(model_file_).size());
    return Span{model_file_, end, end};
  }

  /// The only block, or the one that `--train` names.
  void choose_block(const CommandLineValues& command_line) {
    const std::vector<const ast::Train*>& blocks = definitions_.model().trains;
    const auto chosen = command_line.train.find(std::string(block_option));
    if (chosen == command_line.train.end()) {
      if (!blocks.empty()) train_ = blocks[0];
      // A check looks at the first one.
      if (blocks.size() > 1 && options_.needs_train_block) {
        reporter_.add(
            Complaint("E0706", word_of(*blocks[1]), "the file has several train blocks", "another")
                .other(word_of(*blocks[0]), "one")
                .help("say which: `--train NAME`"));
      }
      return;
    }
    const ast::Expression& wanted = chosen->second.value;
    std::vector<std::string> names;
    for (const ast::Train* block : blocks) {
      if (wanted.kind == ExpressionKind::name && block->name.text == wanted.name.text) {
        train_ = block;
        return;
      }
      if (!block->name.text.empty()) names.push_back(block->name.text);
    }
    if (wanted.kind == ExpressionKind::invalid) return;
    reporter_.add(Complaint("E0708", wanted.span,
                            fmt::format("there is no train block `{}`", sources_.text(wanted.span)),
                            "not defined in this file")
                      .did_you_mean(wanted.name.text, names));
    if (!blocks.empty()) train_ = blocks[0];
  }

  void check_key(const ast::Entry& entry, bool from_command_line) {
    const std::string& key = entry.key.text;
    if (key.empty() || contains(supported_keys, key)) return;
    if (key == "lr" && from_command_line) return;
    if (contains(later_keys, key)) {
      const bool is_empty =
          entry.value.kind == ExpressionKind::list && entry.value.operands.empty();
      if (is_empty) return;
      reporter_.add(
          Complaint("E0902", entry.span, fmt::format("`{}` is not supported yet", key), ""));
      return;
    }
    std::vector<std::string> names(supported_keys.begin(), supported_keys.end());
    names.insert(names.end(), later_keys.begin(), later_keys.end());
    Complaint complaint("E0705", entry.key.span,
                        fmt::format("`{}` is not a key of a train block", key), "unknown key");
    complaint.did_you_mean(key, names);
    // What was meant is not missing as well.
    for (const std::string& help : complaint.diagnostic().helps) meant_.push_back(help);
    if (contains(dropped_keys, key)) {
      complaint.note("there is one mode: results never depend on the number of threads");
      complaint.help("delete it");
    } else if (key == "lr" || key == "learning_rate") {
      complaint.help("the learning rate is an argument: `optimizer = sgd(lr = 0.1)`");
    }
    reporter_.add(complaint);
  }

  void report_missing(std::string_view key, std::string_view example, std::string_view option) {
    const std::string as_meant = fmt::format("did you mean `{}`?", key);
    if (std::find(meant_.begin(), meant_.end(), as_meant) != meant_.end()) return;
    Complaint complaint("E0706", block_span(),
                        fmt::format("the train block does not say `{}`", key),
                        train_ != nullptr ? "missing here" : "there is no train block");
    std::string help = train_ != nullptr
                           ? fmt::format("write `{}`", example)
                           : fmt::format("write `train {{ {} ... }}` into the file", example);
    if (!option.empty()) help += fmt::format(", or give `{}`", option);
    complaint.help(std::move(help));
    reporter_.add(complaint);
  }

  void report_value(const ast::Entry& entry, std::string wanted, std::string label = "") {
    reporter_.add(Complaint("E0707", entry.value.span,
                            fmt::format("`{}` must be {}", entry.key.text, wanted),
                            std::move(label)));
  }

  std::optional<int64_t> number(const ast::Entry& entry, int64_t least, int64_t most) {
    Value value = elaborator_.evaluate_constant(entry.value);
    if (value.is_error()) return std::nullopt;
    if (!value.is_number() || value.integer.maximum < least || value.integer.maximum > most) {
      std::string wanted = least > 0 ? "a positive integer" : "an integer that is not negative";
      if (value.is_number() && value.integer.maximum > most) {
        wanted = fmt::format("at most {}", most);
      }
      report_value(entry, std::move(wanted),
                   value.is_number() ? fmt::format("this is {}", value.integer.maximum) : "");
      return std::nullopt;
    }
    return value.integer.maximum;
  }

  std::optional<bool> boolean(const ast::Entry& entry) {
    Value value = elaborator_.evaluate_constant(entry.value);
    if (value.is_error()) return std::nullopt;
    if (value.kind != ValueKind::boolean) {
      report_value(entry, "`true` or `false`");
      return std::nullopt;
    }
    return value.boolean;
  }

  /// One of a few words; empty after a report.
  std::string word(const ast::Entry& entry, const std::vector<std::string>& words) {
    if (entry.value.kind == ExpressionKind::invalid) return "";
    if (entry.value.kind == ExpressionKind::name &&
        std::find(words.begin(), words.end(), entry.value.name.text) != words.end()) {
      return entry.value.name.text;
    }
    std::string list;
    for (size_t i = 0; i < words.size(); ++i) {
      if (i != 0) list += i + 1 == words.size() ? " or " : ", ";
      list += fmt::format("`{}`", words[i]);
    }
    report_value(entry, list);
    return "";
  }

  template <typename T>
  const T* read_named(std::string_view key, std::string_view what,
                      const std::vector<const T*>& items, bool is_needed) {
    const ast::Entry* entry = find(key);
    if (entry == nullptr) {
      if (items.size() == 1) return items[0];
      if (items.empty()) {
        if (!is_needed) return nullptr;
        reporter_.add(Complaint("E0708", block_span(), fmt::format("the file has no {}", what),
                                fmt::format("`{} NAME {{ ... }}` is expected", key)));
      } else if (is_needed || train_ != nullptr) {
        reporter_.add(Complaint("E0706", block_span(),
                                fmt::format("the file has several {}s", what),
                                fmt::format("say which: `{} = {}`", key, items[0]->name.text))
                          .other(items[0]->name.span, "one")
                          .other(items[1]->name.span, "another"));
      }
      return nullptr;
    }
    if (entry->value.kind == ExpressionKind::invalid) return nullptr;
    std::vector<std::string> names;
    for (const T* item : items) {
      if (entry->value.kind == ExpressionKind::name && item->name.text == entry->value.name.text) {
        return item;
      }
      names.push_back(item->name.text);
    }
    if (entry->value.kind != ExpressionKind::name) {
      report_value(*entry, fmt::format("the name of a {}", what));
      return nullptr;
    }
    reporter_.add(Complaint("E0708", entry->value.span,
                            fmt::format("there is no {} `{}`", what, entry->value.name.text),
                            "not defined in this file")
                      .did_you_mean(entry->value.name.text, names));
    return nullptr;
  }

  const ast::Model* read_model() {
    return read_named("model", "model", definitions_.model().models, true);
  }

  const ast::Data* read_data() {
    return read_named("data", "data block", definitions_.model().data, needs(options_.needs_data));
  }

  void read_batch(TrainPlan& plan) {
    const ast::Entry* entry = find("batch");
    if (entry == nullptr) {
      if (needs(true)) report_missing("batch", "batch = 128", "--batch 128");
      return;
    }
    plan.settings.batch_span = entry->value.span;
    std::optional<int64_t> batch = number(*entry, 1, int64_t{1} << 31);
    if (!batch) return;
    plan.settings.batch = *batch;
    plan.is_batch_known = true;
  }

  /// What ends training before its last epoch.
  void read_end(TrainSettings& settings) {
    if (const ast::Entry* entry = find("target")) read_target(*entry, settings);
    if (const ast::Entry* entry = find("time_limit")) {
      Value value = elaborator_.evaluate_constant(entry->value);
      std::optional<double> seconds = real_number(value);
      if (!value.is_error() && (!seconds || !(*seconds > 0))) {
        report_value(*entry, "a positive number of seconds");
      }
      if (seconds && *seconds > 0) settings.time_limit = *seconds;
    }
    constexpr int64_t most = int64_t{1} << 40;
    if (const ast::Entry* entry = find("patience")) {
      settings.patience = number(*entry, 1, most).value_or(0);
    }
    if (const ast::Entry* entry = find("eval_every")) {
      settings.eval_every = number(*entry, 1, most).value_or(1);
    }
  }

  static std::optional<double> real_number(const Value& value) {
    if (value.kind == ValueKind::real) return value.real;
    if (value.is_number()) return static_cast<double>(value.integer.maximum);
    return std::nullopt;
  }

  void read_target(const ast::Entry& entry, TrainSettings& settings) {
    using ast::BinaryOperator;
    const ast::Expression& e = entry.value;
    if (e.kind == ExpressionKind::invalid) return;
    const bool is_comparison =
        e.kind == ExpressionKind::binary &&
        (e.binary == BinaryOperator::less || e.binary == BinaryOperator::less_equal ||
         e.binary == BinaryOperator::greater || e.binary == BinaryOperator::greater_equal);
    if (!is_comparison || e.operands[0].kind != ExpressionKind::name) {
      report_value(entry, "a metric that is compared with a number", "such as `loss <= 0.1`");
      return;
    }
    Value value = elaborator_.evaluate_constant(e.operands[1]);
    if (value.is_error()) return;
    std::optional<double> threshold = real_number(value);
    if (!threshold) {
      report_value(entry, "a metric that is compared with a number", "such as `loss <= 0.1`");
      return;
    }
    settings.target = Target{e.operands[0].name.text, e.binary, *threshold, e.operands[0].span};
  }

  void read_transforms(const ast::Entry& entry, TrainPlan& plan) {
    if (entry.value.kind == ExpressionKind::invalid) return;
    if (entry.value.kind != ExpressionKind::list) {
      report_value(entry, "a list of gradient transforms", "such as `[clip_norm(1.0)]`");
      return;
    }
    for (const ast::Expression& call : entry.value.operands) {
      if (call.kind == ExpressionKind::invalid) continue;
      const bool is_word = call.kind == ExpressionKind::name;
      if (call.kind != ExpressionKind::call && !is_word) {
        reporter_.add(Complaint("E0707", call.span, "this is not a gradient transform",
                                "such as `clip_norm(1.0)`"));
        continue;
      }
      const std::string& name = call.name.text;
      const ast::Optimizer* transform = definitions_.optimizer(name);
      if (transform == nullptr || !transform->is_transform) {
        Complaint complaint("E0708", call.name.span,
                            fmt::format("there is no gradient transform `{}`", name),
                            transform != nullptr ? "this is an optimizer" : "not defined");
        complaint.did_you_mean(name, definitions_.transform_names());
        complaint.note("`fusegrad list` prints all of them");
        reporter_.add(complaint);
      } else if (is_word) {
        reporter_.add(Complaint("E0707", call.span, "a gradient transform is called",
                                fmt::format("write `{}(...)` with its arguments", name)));
      } else if (!call.instance.text.empty() || !call.initialisers.empty()) {
        reporter_.add(Complaint("E0108", call.span,
                                fmt::format("`{}` is a gradient transform, not a layer", name),
                                "only layers have instances with parameters"));
      } else {
        plan.transforms.push_back(&call);
      }
    }
  }

  void read_precision(TrainPlan& plan) {
    if (const ast::Entry* entry = find("precision")) {
      const std::string& name = entry->value.name.text;
      const bool is_later = entry->value.kind == ExpressionKind::name &&
                            (name == "bf16" || name == "f16" || name == "tf32" || name == "f32x");
      if (is_later) {
        reporter_.add(Complaint("E0902", entry->value.span,
                                fmt::format("`precision = {}` is not supported yet", name), ""));
      } else if (word(*entry, {"f32", "f64"}) == "f64") {
        plan.settings.real = ir::ScalarType::f64;
      }
    }
    if (options_.real) plan.settings.real = *options_.real;
  }

  void read_optimizer(const ast::Entry& entry, TrainPlan& plan) {
    const ast::Expression& call = entry.value;
    if (call.kind == ExpressionKind::invalid) return;
    const bool is_word = call.kind == ExpressionKind::name;
    if (call.kind != ExpressionKind::call && !is_word) {
      report_value(entry, "the call of an optimizer", "such as `sgd(lr = 0.1)`");
      return;
    }
    const std::string& name = call.name.text;
    const ast::Optimizer* optimizer = definitions_.optimizer(name);
    if (optimizer == nullptr || optimizer->is_transform) {
      Complaint complaint(
          "E0708", call.name.span, fmt::format("there is no optimizer `{}`", name),
          optimizer != nullptr ? "this is a transform of gradients" : "not defined");
      complaint.did_you_mean(name, definitions_.optimizer_names());
      complaint.note("`fusegrad list` prints all of them");
      reporter_.add(complaint);
      return;
    }
    if (is_word) {
      report_value(entry, "the call of an optimizer",
                   fmt::format("write `{}(...)` with its arguments", name));
      return;
    }
    if (!call.instance.text.empty() || !call.initialisers.empty()) {
      reporter_.add(Complaint("E0108", call.span,
                              fmt::format("`{}` is an optimizer, not a layer", name),
                              "only layers have instances with parameters"));
      return;
    }
    if (optimizer->subjects.size() != 2) {
      return;  // reported with its definition
    }
    plan.optimizer = &call;
    const ast::Entry* learning_rate = find("lr");
    if (learning_rate == nullptr || (train_ != nullptr && is_in_block(*learning_rate))) return;
    bool has_rate = false;
    for (const ast::ValueParameter& parameter : optimizer->parameters) {
      has_rate = has_rate || parameter.name.text == "lr";
    }
    if (!has_rate) {
      reporter_.add(Complaint("E0703", learning_rate->key.span,
                              fmt::format("`{}` has no argument `lr`", name),
                              "given on the command line")
                        .other(call.span, "the optimizer"));
      plan.optimizer = nullptr;
      return;
    }
    plan.learning_rate = &learning_rate->value;
  }

  bool is_in_block(const ast::Entry& entry) const {
    return entry.key.span.file == train_->span.file;
  }

  const Definitions& definitions_;
  const ElaborateOptions& options_;
  uint32_t model_file_;
  const SourceManager& sources_;
  Elaborator& elaborator_;
  Reporter& reporter_;
  const ast::Train* train_ = nullptr;
  std::vector<std::string> meant_;  ///< "did you mean `epochs`?"
  std::map<std::string, const ast::Entry*, std::less<>> entries_;
};

}  // namespace

std::vector<std::string> train_keys() { return {supported_keys.begin(), supported_keys.end()}; }

TrainPlan plan_training(const Definitions& definitions, const CommandLineValues& command_line,
                        const ElaborateOptions& options, uint32_t model_file,
                        const SourceManager& sources, Elaborator& elaborator, Reporter& reporter) {
  return TrainReader(definitions, command_line, options, model_file, sources, elaborator, reporter)
      .read();
}

}  // namespace fusegrad::frontend
