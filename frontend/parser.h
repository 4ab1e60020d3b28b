// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From text to the syntax tree.
#pragma once

#include <cstddef>
#include <cstdint>

#include "frontend/ast.h"
#include "ir/support/diagnostics.h"

namespace fusegrad::frontend {

/// How deep expressions, blocks and `when`s may stand in one another.
inline constexpr size_t max_nesting = 200;
/// Greatest Expression::height. A chain such as `a + b + c` grows a level with each term.
inline constexpr size_t max_expression_height = 1000;
/// After so many syntax errors the rest of the file is not parsed.
inline constexpr size_t max_syntax_errors = 50;

/// Lexes and parses a file of `sources`. Always returns what could be parsed; a statement with an
/// error in its expression keeps its names and gets an expression of kind `invalid`. Whether the
/// file is well-formed is told by `diagnostics` (E00xx, see diagnostic_codes.def), which are added
/// in the order of their places in the text.
///
/// The grammar is in docs/language.md; ast.h documents the `init` suffix of calls. What it leaves
/// open:
///   * The end of a line ends nothing. Errors are recovered from at the next line that begins a
///   statement, or at `}`.
///   * The value of `init` is a whole expression; in it, a call outside brackets takes no `as` or
///   `init`:
///     `dense(x, 10) init w = uniform(-1, 1) init c = 0` initialises two parameters of `dense`.
///   * In `data` and `train` blocks a word before `=` is always a key, also `and`, `or` and `as`.
///   * A name of the wrong letter case is reported and kept, and so is a call of an upper-case
///   name.
ast::File parse(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics);

}  // namespace fusegrad::frontend
