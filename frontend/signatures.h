// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a file defines, for people: `fusegrad list`, `list --markdown`.
#pragma once

#include <string>
#include <string_view>

#include "frontend/ast.h"

namespace fusegrad::frontend {

/// The functions, layers, optimizers and gradient transforms of a file in its order: the first line
/// of each definition, and below it, indented, its documentation.
std::string signatures(const ast::File& file);

/// The same as a page of Markdown. `text` is the file's: its comment lines `# ---- title` become
/// headings.
std::string signatures_page(const ast::File& file, std::string_view text);

}  // namespace fusegrad::frontend
