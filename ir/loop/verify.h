// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rules that every L program keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/loop/program.h"

namespace fusegrad::ir {

/// Largest scratch memory (`stack`) of one function, in bytes, so that no thread's stack overflows.
inline constexpr int64_t maximum_stack_bytes = int64_t{1} << 22;

/// How the addresses of a program were found to be in bounds.
struct AddressCount {
  int64_t proven = 0;
  /// Depend on loaded values, or on variables that change: what is loaded was checked when data was
  /// loaded (ranges of inputs, row numbers).
  int64_t from_data = 0;
  /// Of the form `if c then a else 0` where `a` may be in bounds, but c was not seen to imply it.
  int64_t clamped = 0;
};

/// Checks, for every number of rows from 1 to the batch:
///   1. names are valid; buffers and functions are unique; launches, results and parameters name
///      what exists; the temporaries' places in the arena are good (ir/kernel/memory_check.h)
///   2. a parameter has the type of its buffer, and its elements or fewer (-1 for an input only);
///      `row_list` is i32, read only, with an element for every row; derived buffers follow from
///      what they name (ir/kernel/segment.h)
///   3. within a launch, what one function writes no other one uses; inputs, derived buffers
///      and `row_list` are never written
///   4. names of variables are defined before use and hide no other variable; only a `var` is
///      assigned, with a value of its type; memory is a parameter or a stack array above
///   5. types are exact (ir/expr_types.h), lanes 1 to 64; addresses are i64; what is loaded and
///      stored has the element's type; conditions of statements and bounds of loops are scalar
///   6. only L's operators; divisors of `//` and `%` are positive constants, counts of shifts are
///      constants within the width; sums over lanes have a power of two of them; nothing is
///      converted to bool. With `expanded`, no function is left that expand_functions expands
///   7. steps of loops and tiles are positive; stack arrays have elements, together at most
///      maximum_stack_bytes; stores go to stack arrays and `mutable` parameters
///   8. addresses are in bounds, proved from the ranges of loops, the tasks, and the conditions of
///      the `if`s around them (ir/range_analysis.h). Only an address that depends on loaded values
///      may be without proof, unless all its values are outside
/// Returns the violations in words, each with the function and statement it is in; empty: the
/// program is good. `count` (may be null) is only meaningful then.
std::vector<std::string> verify(const LoopProgram& program, bool expanded = false,
                                AddressCount* count = nullptr);
/// All programs; their names are distinct, and parameters and states of one name have one type,
/// shape and layout.
std::vector<std::string> verify(const LoopModule& module, bool expanded = false);

/// A violation is our bug: ends the process with the violations and the text of the program.
/// `stage` is named in the message.
void check_verified(const LoopProgram& program, std::string_view stage, bool expanded = false);

}  // namespace fusegrad::ir
