// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Normal form of integer expressions: the one place that knows index arithmetic.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/expr.h"
#include "ir/simplify_rules.h"
#include "ir/types.h"

namespace fusegrad::ir {

/// The integers min, ..., max; both ends belong to it.
struct Interval {
  int64_t min = 0;
  int64_t max = 0;
  bool contains(int64_t value) const { return min <= value && value <= max; }
  bool operator==(const Interval&) const = default;
};

/// What is known about the leaves of integer expressions.
struct IndexRanges {
  /// Values of indices, uniforms and variables, by name. For a range that ends at a multiple of the
  /// number of rows, the values at the full batch.
  std::map<std::string, Interval, std::less<>> by_name;
  /// For those: the index is below this number times `rows`. Makes `rows - 1 - b >= 0` provable.
  std::map<std::string, int64_t, std::less<>> per_row;
  /// Values of anything else of integer type (reads, conversions); may be null.
  std::function<std::optional<Interval>(const Expr&)> other;
  /// Where applications of rules are counted; may be null.
  RuleCounts* counts = nullptr;

  /// Adds the index of a range [begin, end). An empty range gives nothing to know: it is kept as
  /// the single value `begin`, no point of it is ever evaluated.
  void add(std::string_view name, int64_t begin, Extent end);
  /// Adds the uniform `rows`: 1, ..., batch.
  void add_rows(int64_t batch);
};

/// An integer, as constant + sum of coefficient * atom. Atoms are distinct, their own operands are
/// in normal form, coefficients are not 0, terms are in canonical order (largest coefficient
/// first).
struct LinearForm {
  struct Term {
    ExprRef atom;
    int64_t coefficient = 0;
  };
  std::vector<Term> terms;
  int64_t constant = 0;

  static LinearForm number(int64_t value) { return {{}, value}; }
  static LinearForm atom(ExprRef atom) { return {{{std::move(atom), 1}}, 0}; }
  bool is_constant() const { return terms.empty(); }
  bool operator==(const LinearForm& other) const;
};

/// The normal form of an expression of type i64 (one lane). Exact for every value of the leaves
/// that `ranges` allows:
///   (c*A + R) // c      = A + R // c,  and R // c folds where the interval of R allows it
///   (c*A + R) % c       = R % c,       likewise
///   (g*S + T) // (g*c)  = S // c       and  (g*S + T) % (g*c) = g*(S % c) + T   for 0 <= T < g
///   (x // a) // b       = x // (a*b);  (x % (a*b)) // a = (x // a) % b;  (x % (a*b)) % a = x % a
///   x // c * c + x % c  = x;           (x // a) % b * a + x % a = x % (a*b)
/// Whatever does not fit (overflow of 64 bits included) stays as an atom.
LinearForm linear_form(const ExprRef& e, const IndexRanges& ranges);

/// Expression of the form, `b*784 + i - 1`: equal forms give equal expressions.
ExprRef to_expr(const LinearForm& form);

/// Smallest and largest value; nothing if a leaf is unbounded or 64 bits overflow. Sound, and exact
/// for a sum of independent indices. Knows that an index over rows stays below `rows`.
std::optional<Interval> interval(const LinearForm& form, const IndexRanges& ranges);
std::optional<Interval> interval(const ExprRef& e, const IndexRanges& ranges);

/// Coefficient of the index as a term of its own (0: none). It may also occur inside other atoms.
int64_t coefficient_of(const LinearForm& form, std::string_view index);
/// Whether the index occurs anywhere, atoms' insides included.
bool mentions_index(const LinearForm& form, std::string_view index);

/// Arithmetic; nothing on overflow of 64 bits.
std::optional<LinearForm> add(const LinearForm& a, const LinearForm& b, const IndexRanges& ranges);
std::optional<LinearForm> subtract(const LinearForm& a, const LinearForm& b,
                                   const IndexRanges& ranges);
std::optional<LinearForm> scale(const LinearForm& form, int64_t factor);
/// Division and remainder, rounding toward minus infinity; divisor > 0.
LinearForm divide(const LinearForm& form, int64_t divisor, const IndexRanges& ranges);
LinearForm remainder(const LinearForm& form, int64_t divisor, const IndexRanges& ranges);

/// to_expr of linear_form: idempotent. Needs an expression of type i64, one lane.
ExprRef simplify_integer(const ExprRef& e, const IndexRanges& ranges);

/// Any expression with every i64 part of it in normal form, comparisons of integers decided where
/// intervals allow, and `and`, `or`, `not`, `if` over decided conditions folded. Real arithmetic is
/// left alone. Idempotent.
ExprRef simplify_indices(const ExprRef& e, const IndexRanges& ranges);

}  // namespace fusegrad::ir
