// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finding definitions by name and saying each thing once.
#include "frontend/elaborate_definitions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "frontend/similar.h"

namespace fusegrad::frontend {

Complaint::Complaint(std::string_view code, Span span, std::string message, std::string label) {
  diagnostic_.severity = code.starts_with('W') ? Severity::warning : Severity::error;
  diagnostic_.code = code;
  diagnostic_.message = std::move(message);
  diagnostic_.primary = {span, std::move(label)};
}

Complaint& Complaint::other(Span span, std::string label) {
  if (!span.valid()) return *this;
  // Of calls that call themselves, one label is enough.
  for (const Label& label_before : diagnostic_.others) {
    if (label_before.span == span && label_before.text == label) return *this;
  }
  diagnostic_.others.push_back({span, std::move(label)});
  return *this;
}

bool Complaint::blame_caller(uint32_t library_file) {
  if (diagnostic_.primary.span.file != library_file) return false;
  auto outside = std::find_if(diagnostic_.others.begin(), diagnostic_.others.end(),
                              [&](const Label& label) { return label.span.file != library_file; });
  if (outside == diagnostic_.others.end()) return false;
  std::swap(diagnostic_.primary, *outside);
  diagnostic_.helps.clear();
  return true;
}

Complaint& Complaint::note(std::string text) {
  diagnostic_.notes.push_back(std::move(text));
  return *this;
}

Complaint& Complaint::help(std::string text) {
  diagnostic_.helps.push_back(std::move(text));
  return *this;
}

Complaint& Complaint::did_you_mean(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  std::vector<std::string_view> views(candidates.begin(), candidates.end());
  std::string_view similar = most_similar(word, views);
  if (similar.empty()) return *this;
  return help(fmt::format("did you mean `{}`?", similar));
}

namespace {

/// Errors after which the tree lacks something that the text has.
constexpr std::array<std::string_view, 8> damaging_codes = {"E0001", "E0002", "E0005", "E0006",
                                                            "E0009", "E0013", "E0016", "E0018"};
/// Complaints that something is missing.
constexpr std::array<std::string_view, 7> missing_codes = {"E0101", "E0102", "E0110", "E0505",
                                                           "E0701", "E0706", "E0708"};

template <size_t n>
bool is_one_of(const std::array<std::string_view, n>& codes, std::string_view code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

}  // namespace

Reporter::Reporter(Diagnostics& diagnostics) : diagnostics_(diagnostics) {
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    is_text_damaged_ = is_text_damaged_ || is_one_of(damaging_codes, diagnostic.code);
  }
}

void Reporter::add(const Complaint& complaint) {
  const Diagnostic& diagnostic = complaint.diagnostic();
  // What has no place was never written: the parser stopped before it.
  const bool follows_from_damage =
      is_one_of(missing_codes, diagnostic.code) || !diagnostic.primary.span.valid();
  if (is_text_damaged_ && follows_from_damage) return;
  const Span span = diagnostic.primary.span;
  if (!said_.insert({diagnostic.code, span.file, span.begin, span.end, diagnostic.message})
           .second) {
    return;
  }
  if (diagnostic.severity == Severity::error) {
    if (is_full()) return;
    ++error_count_;
  }
  diagnostics_.add(diagnostic);
}

namespace {

constexpr std::array<std::string_view, 33> builtin_functions = {
    "exp",  "log",    "log1p",  "expm1", "sqrt", "rsqrt", "tanh",          "erf",     "sin",
    "cos",  "abs",    "floor",  "min",   "max",  "sum",   "mean",          "argmin",  "argmax",
    "any",  "all",    "real",   "f32",   "f64",  "i32",   "stop_gradient", "reshape", "size",
    "rand", "normal", "tagged", "total", "f16",  "bf16"};

template <typename T>
void add_once(std::map<std::string, const T*, std::less<>>& table, const T& item,
              std::map<std::string, Span>& callable, Reporter& reporter) {
  if (item.name.text.empty()) return;
  if (is_builtin_function(item.name.text)) {
    reporter.add(Complaint("E0106", item.name.span,
                           fmt::format("`{}` is a function of the language itself", item.name.text),
                           "choose another name"));
    return;
  }
  auto [found, is_new] = callable.emplace(item.name.text, item.name.span);
  if (!is_new) {
    reporter.add(Complaint("E0106", item.name.span,
                           fmt::format("`{}` is defined twice", item.name.text), "defined again")
                     .other(found->second, "first defined here"));
    return;
  }
  table.emplace(item.name.text, &item);
}

template <typename T>
void add_named(std::vector<const T*>& list, const T& item, std::string_view what,
               Reporter& reporter) {
  for (const T* earlier : list) {
    if (item.name.text.empty() || earlier->name.text != item.name.text) continue;
    reporter.add(Complaint("E0106", item.name.span,
                           fmt::format("the {} `{}` is defined twice", what, item.name.text),
                           "defined again")
                     .other(earlier->name.span, "first defined here"));
    return;
  }
  list.push_back(&item);
}

/// Found where the function is defined: it may never be called.
void check_derivatives(const ast::Function& function, Reporter& reporter) {
  std::vector<std::string> names;
  for (const ast::ValueParameter& parameter : function.parameters) {
    names.push_back(parameter.name.text);
  }
  for (const ast::Derivative& derivative : function.derivatives) {
    const std::string& name = derivative.parameter.text;
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) continue;
    reporter.add(Complaint("E0101", derivative.parameter.span,
                           fmt::format("`{}` has no parameter `{}`", function.name.text, name),
                           "no derivative by it")
                     .did_you_mean(name, names));
  }
}

/// Names that were met so far in the files that count as one.
struct Met {
  // Functions, layers and optimizers are told apart by their place, but one name for two of them
  // would only confuse.
  std::map<std::string, Span> callable;
  std::map<std::string, Span> constants;
};

void collect(const ast::File& file, bool is_imported, FileDefinitions& out, Met& met,
             Reporter& reporter) {
  for (const ast::Item& item : file.items) {
    if (const auto* constant = std::get_if<ast::Constant>(&item)) {
      const std::string& name = constant->name.text;
      if (name.empty()) continue;
      auto [found, is_new] = met.constants.emplace(name, constant->name.span);
      if (is_new) {
        out.constants.emplace(name, constant);
      } else {
        reporter.add(Complaint("E0106", constant->name.span,
                               fmt::format("the constant `{}` is defined twice", name),
                               "defined again")
                         .other(found->second, "first defined here"));
      }
    } else if (const auto* function = std::get_if<ast::Function>(&item)) {
      add_once(out.functions, *function, met.callable, reporter);
      check_derivatives(*function, reporter);
    } else if (const auto* layer = std::get_if<ast::Layer>(&item)) {
      add_once(out.layers, *layer, met.callable, reporter);
    } else if (const auto* optimizer = std::get_if<ast::Optimizer>(&item)) {
      add_once(out.optimizers, *optimizer, met.callable, reporter);
      if (!optimizer->is_transform && optimizer->subjects.size() == 1) {
        report_lone_subject(*optimizer, reporter);
      }
    } else if (is_imported) {
      // What is trained, on what and how, is said by one file.
      continue;
    } else if (const auto* model = std::get_if<ast::Model>(&item)) {
      add_named(out.models, *model, "model", reporter);
    } else if (const auto* data = std::get_if<ast::Data>(&item)) {
      add_named(out.data, *data, "data block", reporter);
    } else if (const auto* train = std::get_if<ast::Train>(&item)) {
      add_named(out.trains, *train, "train block", reporter);
    }
  }
}

template <typename Table>
auto find_in(const Table& table, std::string_view name) -> typename Table::mapped_type {
  auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace

void report_lone_subject(const ast::Optimizer& optimizer, Reporter& reporter) {
  reporter.add(Complaint("E0107", optimizer.subjects[0].span,
                         "an optimizer is for a parameter and its gradient", "only one name")
                   .help("write `for p, g`"));
}

bool is_builtin_function(std::string_view name) {
  return std::find(builtin_functions.begin(), builtin_functions.end(), name) !=
         builtin_functions.end();
}

std::vector<std::string> builtin_function_names() {
  return {builtin_functions.begin(), builtin_functions.end()};
}

Definitions::Definitions(const ast::File& model, const std::deque<ast::File>& imported,
                         const ast::File& library, Reporter& reporter)
    : library_file_(library.file) {
  Met in_library;
  collect(library, false, library_, in_library, reporter);
  Met in_model;
  for (const ast::File& file : imported) collect(file, true, model_, in_model, reporter);
  collect(model, false, model_, in_model, reporter);
}

const ast::Function* Definitions::function(std::string_view name, bool from_library) const {
  if (!from_library) {
    if (const ast::Function* found = find_in(model_.functions, name)) return found;
    // A layer of the file hides a function of the library as well.
    if (find_in(model_.layers, name) != nullptr) return nullptr;
  }
  return find_in(library_.functions, name);
}

const ast::Layer* Definitions::layer(std::string_view name, bool from_library) const {
  if (!from_library) {
    if (const ast::Layer* found = find_in(model_.layers, name)) return found;
    if (find_in(model_.functions, name) != nullptr) return nullptr;
  }
  return find_in(library_.layers, name);
}

const ast::Optimizer* Definitions::optimizer(std::string_view name) const {
  const ast::Optimizer* found = find_in(model_.optimizers, name);
  return found != nullptr ? found : find_in(library_.optimizers, name);
}

std::vector<std::string> Definitions::callable_names(bool from_library) const {
  std::vector<std::string> names;
  auto add_all = [&](const FileDefinitions& file) {
    for (const auto& [name, item] : file.functions) names.push_back(name);
    for (const auto& [name, item] : file.layers) names.push_back(name);
  };
  if (!from_library) add_all(model_);
  add_all(library_);
  for (std::string_view name : builtin_functions) names.emplace_back(name);
  return names;
}

namespace {

std::vector<std::string> rule_names(std::initializer_list<const FileDefinitions*> files,
                                    bool is_transform) {
  std::vector<std::string> names;
  for (const FileDefinitions* file : files) {
    for (const auto& [name, item] : file->optimizers) {
      if (item->is_transform == is_transform) names.push_back(name);
    }
  }
  return names;
}

}  // namespace

std::vector<std::string> Definitions::optimizer_names() const {
  return rule_names({&model_, &library_}, false);
}

std::vector<std::string> Definitions::transform_names() const {
  return rule_names({&model_, &library_}, true);
}

}  // namespace fusegrad::frontend
