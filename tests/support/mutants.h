// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Model files with one wrong token: for tests of what the compiler does with mistakes, and with
// models that nobody would write.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "frontend/token.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

namespace fusegrad::test {

/// A valid file of the repository.
struct ModelFile {
  std::string name;
  std::string text;
  std::vector<frontend::Token> tokens;  ///< without the end of the file
};

/// All valid model files of examples and tests, in the order of their names: also the corrected
/// examples of the table of codes. What needs more than this compiler has is there without its
/// data.
const std::vector<ModelFile>& model_files();

/// The tokens of a text, without the end of the file.
std::vector<frontend::Token> tokens_of(const std::string& text);

/// A valid file with one token deleted, doubled, swapped with the next one or replaced by another
/// of all files (mostly by one of its kind, so that it parses).
struct Mutant {
  std::string text;
  std::string what;  ///< the change and its place
  /// The tokens of the mutant that are within one token of the change; `last` is one of them.
  size_t first = 0;
  size_t last = 0;
};
/// The same for the same number, always.
Mutant make_mutant(size_t number);

/// A text in the front end. The model is file 0 of the sources, the library file 1.
struct FrontEndRun {
  SourceManager sources;
  Diagnostics diagnostics;
  std::vector<Diagnostic> of_parser;
  std::optional<frontend::Job> job;
};
/// Parses and elaborates as a model by itself: neither a train block nor data are needed.
FrontEndRun run_front_end(const std::string& text);

/// From now on a crash of this process says which mutant was under work.
void tell_mutant_on_crash();
void set_current_mutant(size_t number);

}  // namespace fusegrad::test
