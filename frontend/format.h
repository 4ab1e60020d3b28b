// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The canonical layout of a model file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ir/support/diagnostics.h"

namespace fusegrad::frontend {

/// The file in canonical layout; nothing when it has syntax errors, which are reported. Tokens and
/// comments stay what they are, and so do the author's line breaks:
///   * two spaces for every open `{`, two more for `deriv`, four more where a statement goes on;
///   * one space around operators, none inside brackets, two in front of a comment behind code;
///   * `=` and `<-` of neighbouring lines that the author put below each other stay so;
///   * several statements on a line are three spaces apart, in columns with those of the next line;
///   * at most one empty line, none at the ends of the file or of a block.
/// Formatting what was formatted changes nothing.
std::optional<std::string> format(const SourceManager& sources, uint32_t file,
                                  Diagnostics& diagnostics);

}  // namespace fusegrad::frontend
