// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Elaborating the text of a model file, and what came of it as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "frontend/elaborate.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

namespace fusegrad::frontend {

struct Elaborated {
  SourceManager sources;
  Diagnostics diagnostics;
  std::optional<Job> job;

  /// All messages as the user sees them.
  std::string messages() const { return render(diagnostics, sources); }
};

/// Parses and elaborates `text`, called model.fg in messages, with the standard library. A job must
/// pass T's verifier.
Elaborated elaborate_text(std::string_view text, const ElaborateOptions& options = {});

/// The same for a model alone: `text` is the body of a model, after `const` and other items in
/// `items`; batch 4; no data and no optimizer needed.
Elaborated elaborate_body(std::string_view body, std::string_view items = "");

/// The program as text, without the line of its name and its braces; lines begin without blanks.
std::string program_text(const Elaborated& elaborated, std::string_view program);
/// Only its statements; nothing of the declarations, results and updates.
std::string statements_text(const Elaborated& elaborated, std::string_view program = "train");
/// "v: state 0.0; v <- ...; p <- ...", one a line.
std::string rule_text(const Elaborated& elaborated, const std::string& parameter);

}  // namespace fusegrad::frontend
