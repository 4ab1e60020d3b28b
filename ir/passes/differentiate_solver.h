// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Turning "add this to element f(i) of the target, for all i" into "element q of the target is the
// sum of", by solving f(i) = q for as many of the i as possible.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ir/expr.h"
#include "ir/linear_form.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// For every point of `domain` that satisfies all of `conditions`, `value` is added to element
/// [map] of a tensor of shape `target`. Points whose element lies outside add nothing.
struct Scatter {
  std::vector<IndexRange> domain;  ///< distinct names; the indices of the other fields
  std::vector<ExprRef> map;        ///< one i64 expression per dimension of the target
  Shape target;
  std::vector<ExprRef> conditions;  ///< Boolean; reads in later ones may rely on earlier ones
  ExprRef value;
};

/// The right side of a statement over `indices`: a sum over `binders`, or a map if there are none.
struct Gather {
  std::vector<IndexRange> indices;  ///< ranges are the target's shape
  std::vector<IndexRange> binders;
  /// Null: always. Its reads are in range wherever the indices and binders are; conditions with
  /// reads that need other conditions stand as `if`s in the value.
  ExprRef condition;
  ExprRef value;
  std::set<int> rules;  ///< numbers of the rules that were used, see solve(); for tests
};

struct SolverContext {
  int64_t batch = 1;
  /// Values of integer reads, as in IndexRanges.
  std::function<std::optional<Interval>(const Expr&)> other;
  /// Shape of a tensor that conditions read.
  std::function<const Shape&(const std::string&)> shape_of;
  /// Names that no index may have: those of tensors and uniforms.
  std::set<std::string> forbidden;
};

/// Solves map(domain) = target index by six rules:
///   R1  +-v + c               v is known
///   R2  v // m, v % n, ...    digits: v = sum of digit * weight; digits that nobody reads are
///   bound R3  several indices       the one with coefficient +-1 and the largest range is known,
///   the
///                             others stay bound
///   R4  S*v + u + c           u = (q - c) % S + S*k, v = (q - c) // S - k, k bound
///   R5  a*(...) + c           divided by a where a divides q - c
///   R6  nothing to solve      the condition f = q
/// Solved indices stay within their ranges by conditions, dropped where intervals prove them.
/// Binders with one value are gone. Nothing if no point can contribute.
std::optional<Gather> solve(const Scatter& scatter, const SolverContext& context);

}  // namespace fusegrad::ir
