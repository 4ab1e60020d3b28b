// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reverse mode inside one scalar expression: how much of a statement's adjoint arrives at each
// read.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/expr.h"

namespace fusegrad::ir {

/// Numbers between which a value lies, both included, where everything it is computed from is
/// finite. Not known: infinite.
struct RealBounds {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

/// Bounds of an expression. `outside` answers for reads and for expressions of integer type.
RealBounds real_bounds(const ExprRef& e, const std::function<RealBounds(const ExprRef&)>& outside);

/// One thing that must hold for the adjoint to flow: the condition, or its opposite.
struct PathLiteral {
  ExprRef condition;
  bool holds = true;
};

/// As an expression; the opposite of an integer comparison is a comparison.
ExprRef to_expr(const PathLiteral& literal);

/// `adjoint` arrives at `read` wherever all of `path` holds (outermost `if` first).
struct ReadAdjoint {
  ExprRef read;
  ExprRef adjoint;
  std::vector<PathLiteral> path;
};

/// How the statement around the expression takes part.
struct ScalarContext {
  /// Whether the elements of this tensor depend on a parameter.
  std::function<bool(std::string_view tensor)> is_active;
  /// Bounds of reads and integers, for dropping the select of the zero-adjoint rule.
  std::function<RealBounds(const ExprRef&)> bounds;
  /// For `x[i else v]`: the condition under which the read stays inside the tensor; null if it
  /// always does.
  std::function<ExprRef(const Expr& read)> inside;
  /// What may be used for the value of the whole expression: a read of the statement's own
  /// tensor, or null to repeat the expression.
  ExprRef root_value;
  /// Moves an expression that grew beyond `largest` nodes into a statement of its own and returns
  /// the read of it; null where that is not possible. `path` says where the value is needed.
  std::function<ExprRef(const ExprRef& e, const std::vector<PathLiteral>& path)> lift;
  int64_t largest = 0;
};

struct ScalarDerivative {
  std::vector<ReadAdjoint> reads;  ///< in order of first appearance in the expression
  std::string mistake;             ///< not "": what has no derivative, one sentence
};

/// Whether an adjoint of the expression would arrive at a read of an active tensor.
bool leads_to_active(const ExprRef& e, const std::function<bool(std::string_view)>& is_active);

/// Sends `adjoint` (the adjoint of the value of `root`) back to every read of an active tensor. The
/// work is proportional to the number of distinct subexpressions. Values in the results are without
/// stop_gradient and custom.
ScalarDerivative differentiate_expression(const ExprRef& root, const ExprRef& adjoint,
                                          const ScalarContext& context);

/// The expression without stop_gradient and custom: their value stays.
ExprRef strip_marks(const ExprRef& e);

// Arithmetic with what every reader would cross out already crossed out; rounds like the plain
// operator does. Operands have equal real types.
ExprRef neat_negate(const ExprRef& a);
ExprRef neat_add(const ExprRef& a, const ExprRef& b);
ExprRef neat_multiply(const ExprRef& a, const ExprRef& b);
ExprRef neat_divide(const ExprRef& a, const ExprRef& b);

}  // namespace fusegrad::ir
