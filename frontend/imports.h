// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The files that a model file imports, and those that they import.
#pragma once

#include <deque>

#include "frontend/ast.h"
#include "frontend/elaborate.h"
#include "frontend/elaborate_definitions.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

namespace fusegrad::frontend {

/// Files of one job; more is a mistake in the files.
inline constexpr size_t max_imported_files = 200;

/// Reads and parses them, each once however often it is imported, in the order in which they are
/// met. A path is looked for beside the file that imports it. Reports E0710 for what cannot be read
/// and the mistakes of syntax that are found.
std::deque<ast::File> read_imports(const ast::File& model, const ElaborateOptions& options,
                                   SourceManager& sources, Diagnostics& diagnostics,
                                   Reporter& reporter);

}  // namespace fusegrad::frontend
