// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Located messages to the user: an error names its code, the place, the conflicting place, and what
// helps.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ir/support/source.h"

namespace fusegrad {

enum class Severity { error, warning };

/// A marked place: `text` is printed behind the caret ("" prints the caret alone). Of a place that
/// covers several lines the first is shown. Among `others`, an empty place without a text shows its
/// line as context, unmarked.
struct Label {
  Span span;
  std::string text;
};

/// One message. `code` is like "E0201" or "W0502"; `message` is one line without a full stop.
struct Diagnostic {
  Severity severity = Severity::error;
  std::string code;
  std::string message;
  Label primary;
  std::vector<Label> others;       ///< the conflicting places
  std::vector<std::string> notes;  ///< the rule of the language, one each
  std::vector<std::string> helps;  ///< what can be pasted, one each
};

/// Collects messages in the order in which they were found.
class Diagnostics {
 public:
  void add(Diagnostic diagnostic);
  const std::vector<Diagnostic>& all() const { return all_; }
  bool has_errors() const { return error_count_ != 0; }
  size_t error_count() const { return error_count_; }

 private:
  std::vector<Diagnostic> all_;
  size_t error_count_ = 0;
};

/// The text of one message in the form
///     error[E0201]: index `i` has two different sizes
///      --> mlp.fg:6:30
///       |
///     5 |   param w: real[800, 10] = ...
///       |                 --- this size
///     6 |   y[b, o] = ...
///       |                    -------   ^^^^^^^ here `i` has size 800
///       |
///       = note: ...
///       = help: ...
/// The primary place is underlined with `^`, the others with `-`. Ends with a newline. No colours.
/// Places in other files follow under `::: name:line:column`; without a valid primary place only
/// text is printed. Of lines longer than 200 bytes a window is shown; tabs print as four spaces;
/// control characters, characters that reorder text and bytes that are not UTF-8 are escaped, in
/// messages too, which always take one line each.
std::string render(const Diagnostic& diagnostic, const SourceManager& sources);

/// All messages, a blank line between them, sorted by nothing: in the order of `all()`.
std::string render(const Diagnostics& diagnostics, const SourceManager& sources);

}  // namespace fusegrad
