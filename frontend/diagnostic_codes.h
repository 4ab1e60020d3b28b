// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of message codes, from diagnostic_codes.def.
#pragma once

#include <string>
#include <string_view>

namespace fusegrad::frontend {

/// A code such as "E0203" and what there is to say about it.
struct DiagnosticCode {
  std::string_view code;
  std::string_view title;        ///< one line
  std::string_view explanation;  ///< two to five sentences, one paragraph
  /// A model file that reports the code, and the same file corrected. They begin and end with a
  /// line end. Both are empty where no file can show it.
  std::string_view wrong;
  std::string_view right;
};

inline constexpr DiagnosticCode diagnostic_codes[] = {
#define FUSEGRAD_DIAGNOSTIC(code, title, explanation, wrong, right) \
  {#code, title, explanation, wrong, right},
#include "frontend/diagnostic_codes.def"
#undef FUSEGRAD_DIAGNOSTIC
};

/// The entry of a code, however its letter is written; null if there is none.
const DiagnosticCode* find_diagnostic_code(std::string_view code);

/// What `fusegrad explain CODE` prints: title, explanation and examples, for a terminal.
std::string explain(const DiagnosticCode& entry);

/// All codes as a page of Markdown: docs/errors.md.
std::string explain_all();

}  // namespace fusegrad::frontend
