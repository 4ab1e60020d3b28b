// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading L from text.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/loop/program.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

namespace fusegrad::ir {

/// Deepest nesting of `for` and `if` that is read or verified.
inline constexpr int maximum_block_depth = 200;

/// Parses file `file` of `sources`, the text that print() of a module gives. Names are resolved and
/// types checked, so a name must be defined before it is used; all other rules are the verifier's.
/// On an error: one diagnostic E0901, nothing is returned.
std::optional<LoopModule> parse_loop_module(const SourceManager& sources, uint32_t file,
                                            Diagnostics& diagnostics);

}  // namespace fusegrad::ir
