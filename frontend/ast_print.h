// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The syntax tree as source text.
#pragma once

#include <string>

#include "frontend/ast.h"

namespace fusegrad::frontend {

/// Canonical text: one statement a line, two spaces a level, single spaces around operators,
/// numbers as they were written, and no parentheses but those that precedence asks for (and around
/// an `if` in another one's condition or first branch, for the eye). Comments are not in the tree
/// and so not in the text; lines are not wrapped. Parsing the text gives the same tree but for
/// spans and documentation, so printing that prints the same text. What is `invalid` prints as
/// `<error>`, which does not parse.
std::string print(const ast::File& file);
std::string print(const ast::Item& item);
std::string print(const ast::Expression& expression);
std::string print(const ast::Type& type);
/// `indent` levels of two spaces; ends with a newline.
std::string print(const ast::Statement& statement, int indent = 0);
/// The first line of a definition, without `{` or a result: `layer dense(x: real[..., I], O: dim)
/// -> y: real[..., O]`.
std::string print_signature(const ast::Function& function);
std::string print_signature(const ast::Layer& layer);
std::string print_signature(const ast::Optimizer& optimizer);

}  // namespace fusegrad::frontend
