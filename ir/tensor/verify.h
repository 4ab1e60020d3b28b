// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rules that every T program keeps.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// Rules that hold from some stage on.
struct TensorRules {
  bool gradient_marks = true;   ///< stop_gradient and custom may occur: before differentiation
  bool dead_statements = true;  ///< statements that no result and no update needs may occur
};
/// tensor: the weakest rules; tensor.grad: no gradient marks; tensor.opt: neither.
TensorRules tensor_rules_at(std::string_view stage);

/// Checks, for one row and for a full batch:
///   1. every name is valid, defined once, and defined before it is read; results and updates exist
///   2. left indices are distinct, begin at 0; binders hide nothing
///   3. every index in an expression is a left index or a binder of its statement
///   4. reads have the rank of the tensor; divisors of `//` and `%` are positive constants
///   5. every index of a read without `else` is proved in range (ir/range_analysis.h), with the
///   help
///      of `where` and of the conditions of the `if`s around the read; positions of random numbers
///      are proved not negative
///   6. types: no implicit conversion, only T's operators, values fit their statement
///   7. one update a parameter or state, of its shape and type
///   8. inputs lead with `rows`; parameters and states do not depend on rows
///   9. results: one loss at most, a real of rank 0 like every metric; gradients have the shape of
///      their parameter
///  10. what `rules` forbids
/// Returns the violations in words, each with the statement it is in; empty: the program is good.
std::vector<std::string> verify(const TensorProgram& program, TensorRules rules = {});
/// All programs; their names are distinct.
std::vector<std::string> verify(const TensorModule& module, TensorRules rules = {});

/// A violation is our bug: ends the process with the violations and the text of the program.
/// `stage` chooses the rules and is named in the message.
void check_verified(const TensorProgram& program, std::string_view stage);
void check_verified(const TensorModule& module, std::string_view stage);

}  // namespace fusegrad::ir
