// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From text to tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "frontend/token.h"
#include "ir/support/diagnostics.h"

namespace fusegrad::frontend {

inline constexpr size_t max_source_bytes = size_t{16} << 20;
inline constexpr size_t max_name_bytes = 255;
/// After so many lexical errors the rest of the file is not read.
inline constexpr size_t max_lexical_errors = 50;

/// The tokens of a file. Reports E0006 (strings), E0007 (numbers), E0008 (characters), E0010 (a
/// text over 16 MiB gives no tokens), E0011 (long names) and goes on; what was wrong still gives a
/// token where it can.
///
/// Brackets `()` and `[]` are paired here, in one pass: `{`, `}` and words that begin a statement
/// never stand inside them, so a forgotten `)` does not swallow the rest of the file.
TokenStream lex(const SourceManager& sources, uint32_t file, Diagnostics& diagnostics);

}  // namespace fusegrad::frontend
