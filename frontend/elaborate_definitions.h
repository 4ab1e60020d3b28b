// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The items of the library and of the model file by name, and the reports about them.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "frontend/ast.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

namespace fusegrad::frontend {

/// A diagnostic in the making: `report.add(Complaint("E0101", span, "there is no ...",
/// "not defined").help("..."))`.
class Complaint {
 public:
  /// A code that begins with W makes a warning.
  Complaint(std::string_view code, Span span, std::string message, std::string label);
  explicit Complaint(Diagnostic diagnostic) : diagnostic_(std::move(diagnostic)) {}
  Complaint& other(Span span, std::string label);
  Complaint& note(std::string text);
  Complaint& help(std::string text);
  /// "did you mean `...`?", if one of the candidates is similar.
  Complaint& did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

  /// What is wrong shows in the library, but the reader can only change the call that led there:
  /// the first other place outside of `library_file` becomes the primary one. Advice about the text
  /// of the library is dropped. False if there is no such place, or if nothing had to be moved.
  bool blame_caller(uint32_t library_file);

  const Diagnostic& diagnostic() const { return diagnostic_; }

 private:
  Diagnostic diagnostic_;
};

/// Collects complaints. What is said twice is kept once: a layer may be instantiated many times,
/// and a model is elaborated for training and for evaluation.
class Reporter {
 public:
  /// What the parser found is in `diagnostics` already. After errors of syntax, what seems to be
  /// missing may well be what could not be read: no complaint says so.
  explicit Reporter(Diagnostics& diagnostics);
  void add(const Complaint& complaint);
  bool has_errors() const { return error_count_ != 0; }
  size_t error_count() const { return error_count_; }
  /// After this many errors nothing more is worth reading.
  static constexpr size_t max_errors = 100;
  bool is_full() const { return error_count_ >= max_errors; }

 private:
  Diagnostics& diagnostics_;
  std::set<std::tuple<std::string, uint32_t, uint32_t, uint32_t, std::string>> said_;
  size_t error_count_ = 0;
  bool is_text_damaged_ = false;
};

/// What one file defines. The pointers point into the ast::File.
struct FileDefinitions {
  std::map<std::string, const ast::Function*, std::less<>> functions;
  std::map<std::string, const ast::Layer*, std::less<>> layers;
  std::map<std::string, const ast::Optimizer*, std::less<>> optimizers;
  std::map<std::string, const ast::Constant*, std::less<>> constants;
  std::vector<const ast::Model*> models;
  std::vector<const ast::Data*> data;
  std::vector<const ast::Train*> trains;
};

/// Both files. What stands in the library sees the library; what stands in the model file sees that
/// file first.
class Definitions {
 public:
  /// Reports E0106 for what is defined twice. Of imported files the constants, functions, layers,
  /// optimizers and transforms count as if they stood in the model file; models, data and train
  /// blocks of theirs are passed over.
  Definitions(const ast::File& model, const std::deque<ast::File>& imported,
              const ast::File& library, Reporter& reporter);

  const FileDefinitions& model() const { return model_; }
  const FileDefinitions& library() const { return library_; }
  uint32_t library_file() const { return library_file_; }
  bool is_library(Span span) const { return span.file == library_file_; }

  /// What the name means to text that stands in the library, or else in the model file.
  const ast::Function* function(std::string_view name, bool from_library) const;
  const ast::Layer* layer(std::string_view name, bool from_library) const;
  const ast::Optimizer* optimizer(std::string_view name) const;

  /// All names that can be called, for suggestions.
  std::vector<std::string> callable_names(bool from_library) const;
  std::vector<std::string> optimizer_names() const;
  std::vector<std::string> transform_names() const;

 private:
  FileDefinitions model_;
  FileDefinitions library_;
  uint32_t library_file_;
};

/// E0107 for an optimizer `for p` without a name for the gradient.
void report_lone_subject(const ast::Optimizer& optimizer, Reporter& reporter);

/// Whether a word is a function that the compiler itself provides: exp, max, real, reshape, ...
bool is_builtin_function(std::string_view name);
/// All of them.
std::vector<std::string> builtin_function_names();

}  // namespace fusegrad::frontend
