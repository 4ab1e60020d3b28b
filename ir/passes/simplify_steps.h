// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The steps of `simplify`, each a function on one program; true means that something changed.
// `counts`, which may be null, gets the applications of rules (ir/simplify_rules.h).
#pragma once

#include <map>
#include <set>
#include <string>

#include "ir/simplify_rules.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// Expressions folded (fold.h), indices and binders of one value removed from expressions.
bool fold_statements(TensorProgram& program, RuleCounts* counts = nullptr);

/// Map statements substituted into their readers where that saves work (move 1 of the fusion
/// study): always views, constants, copies, rank-0 scalars, low-rank maps of at most two
/// operations, and maps whose readers evaluate them no more often than they would be stored; by
/// cost maps over declared tensors only.
bool inline_maps(TensorProgram& program, RuleCounts* counts = nullptr);

/// `sum(i: a[b] * x[b, i])` becomes `a[b] * sum(i: x[b, i])`: constants and factors without binders
/// leave sums that have no condition.
bool pull_factors(TensorProgram& program, RuleCounts* counts = nullptr);

/// Equal statements (up to index names) become one.
bool share_statements(TensorProgram& program, RuleCounts* counts = nullptr);

/// Expressions of step, steps and epoch alone become statements of rank 0, in f64, where they cost
/// more than a few instructions: they are computed once a step, not once an element.
bool hoist_scalars(TensorProgram& program, RuleCounts* counts = nullptr);

/// Is it such a statement?
bool is_step_scalar(const TensorStatement& statement);

/// Statements that no result and no update needs are dropped.
bool remove_dead_statements(TensorProgram& program, RuleCounts* counts = nullptr);

// ---- Helpers of several steps.

/// Tensors that must keep a statement of their own: results and update values.
std::set<std::string> root_names(const TensorProgram& program);

/// Calls `visit` on every read of the statement (condition and value).
void visit_reads(const TensorStatement& statement, const std::function<void(const Expr&)>& visit);

/// Applies `change` to condition and value.
void rewrite_statement(TensorStatement& statement,
                       const std::function<ExprRef(const ExprRef&)>& change);

/// What a map holds at an element, which has an expression for each of its indices (an `else` value
/// behind them is not looked at).
ExprRef value_at(const TensorStatement& map, const std::vector<ExprRef>& element);

/// Points of a space of indices, and bytes of a statement's tensor, at the full batch; saturating.
int64_t points_of(const std::vector<IndexRange>& indices);
int64_t tensor_bytes(const TensorStatement& statement);

/// Instructions that one byte of saved memory traffic is worth.
inline constexpr int64_t instructions_per_byte = 10;

/// Estimated instructions per evaluation: 1 for arithmetic, 4 for division and roots, 16 for
/// exponentials and the like, 24 for random numbers. Index arithmetic is not counted.
int64_t instruction_weight(const ExprRef& e);

}  // namespace fusegrad::ir
