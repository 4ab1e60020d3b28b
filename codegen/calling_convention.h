// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What callers of generated code must know of it, whoever generates it: the order of its two
// tables, and the names of its functions.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "ir/loop/program.h"

namespace fusegrad::codegen {

/// The uniforms in the order in which a generated function finds them in memory, an i64 each.
inline constexpr std::array<std::string_view, 5> uniform_order = {"rows", "step", "epoch", "steps",
                                                                  "seed"};

/// Order of the pointer table that every generated function is called with: the program's buffers,
/// then `row_list` if a function has that parameter.
std::vector<std::string> buffer_table(const ir::LoopProgram& program);

/// A name of L as part of a symbol: letters, digits and `_`, everything else replaced by `_`; cut
/// where it is very long.
std::string symbol_part(std::string_view name);

/// External symbol of each function, in the order of `program.functions`: `symbol_part` of the
/// name, then `_` and the function's position. `prefix` comes first: objects of several programs
/// are linked into one file.
std::vector<std::string> symbol_names(const ir::LoopProgram& program, std::string_view prefix = "");

}  // namespace fusegrad::codegen
