// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a file defines, for people: `fusegrad list`.
#pragma once

#include <string>

#include "frontend/ast.h"

namespace fusegrad::frontend {

/// The functions, layers, optimizers and gradient transforms of a file in its order: the first line
/// of each definition, and below it, indented, its documentation.
std::string signatures(const ast::File& file);

}  // namespace fusegrad::frontend
