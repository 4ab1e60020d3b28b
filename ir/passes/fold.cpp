// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Local rewriting: a table of rules, a small function each. A rule makes the expression smaller, or
// keeps its size with fewer divisions, or moves a constant to the right: so rewriting ends. Rules
// that change rounding are named in docs/ir.md.
#include "ir/passes/fold.h"

#include <cmath>
#include <optional>
#include <utility>

#include "ir/simplify_rules.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

bool is_real_constant(const ExprRef& e) { return is_constant(e) && is_real(e->type.scalar); }

ExprRef times(const ExprRef& a, const ExprRef& b) { return make_binary(Op::multiply, a, b); }

// ---- The rules. Each one gives the new expression, or null where it does not apply. Nodes have
// real values, apart from the conditions of `if`.

ExprRef real_constants(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  const ExprRef& b = e->operands.back();
  if (!is_real_constant(a) || !is_real_constant(b)) return nullptr;
  switch (e->op) {
    case Op::negate:
      return real_like(-a->real, e);
    case Op::add:
      return real_like(a->real + b->real, e);
    case Op::subtract:
      return real_like(a->real - b->real, e);
    case Op::multiply:
      return real_like(a->real * b->real, e);
    case Op::divide:
      return real_like(a->real / b->real, e);
    default:
      return nullptr;
  }
}

ExprRef constant_function(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  if (!is_real_constant(a)) return nullptr;
  if (e->op == Op::sqrt && a->real >= 0) return real_like(std::sqrt(a->real), a);
  if (e->op == Op::exp) return real_like(std::exp(a->real), a);
  if (e->op == Op::log && a->real > 0) return real_like(std::log(a->real), a);
  return nullptr;
}

/// Only where the narrower type holds the value exactly; otherwise the conversion's rounding is
/// meant.
ExprRef constant_conversion(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  if (!is_constant(a)) return nullptr;
  const double value = is_real(a->type.scalar) ? a->real : static_cast<double>(a->integer);
  const bool is_exact =
      e->type.scalar == ScalarType::f64 || static_cast<double>(static_cast<float>(value)) == value;
  return is_exact ? make_real(value, e->type.scalar) : nullptr;
}

ExprRef add_zero(const ExprRef& e) {
  if (is_real_constant(e->operands[1], 0.0)) return e->operands[0];
  if (e->op == Op::add && is_real_constant(e->operands[0], 0.0)) return e->operands[1];
  return nullptr;
}

ExprRef add_negated(const ExprRef& e) {
  const ExprRef& b = e->operands[1];
  if (b->op != Op::negate) return nullptr;
  return make_binary(e->op == Op::add ? Op::subtract : Op::add, e->operands[0], b->operands[0]);
}

ExprRef constant_right(const ExprRef& e) {
  const bool is_left = is_real_constant(e->operands[0]) && !is_real_constant(e->operands[1]);
  return is_left ? times(e->operands[1], e->operands[0]) : nullptr;
}

ExprRef times_one(const ExprRef& e) {
  return is_real_constant(e->operands[1], 1.0) ? e->operands[0] : nullptr;
}

ExprRef times_minus_one(const ExprRef& e) {
  const bool is_minus_one = is_real_constant(e->operands[1], -1.0);
  return is_minus_one ? make_unary(Op::negate, e->operands[0]) : nullptr;
}

ExprRef constant_factors(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  const ExprRef& b = e->operands[1];
  if (!is_real_constant(b) || a->op != Op::multiply || !is_real_constant(a->operands[1])) {
    return nullptr;
  }
  return times(a->operands[0], real_like(a->operands[1]->real * b->real, b));
}

ExprRef negated_factor(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  const ExprRef& b = e->operands[1];
  if (!is_real_constant(b) || a->op != Op::negate) return nullptr;
  return times(a->operands[0], real_like(-b->real, b));
}

ExprRef factor_into_branches(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  const ExprRef& b = e->operands[1];
  if (!is_real_constant(b) || a->op != Op::select || !is_real_constant(a->operands[1]) ||
      !is_real_constant(a->operands[2])) {
    return nullptr;
  }
  return make_select(a->operands[0], real_like(a->operands[1]->real * b->real, b),
                     real_like(a->operands[2]->real * b->real, b));
}

ExprRef divide_constant(const ExprRef& e) {
  const ExprRef& b = e->operands[1];
  if (!is_real_constant(b) || b->real == 0 || !std::isfinite(b->real) ||
      !std::isfinite(1.0 / b->real)) {
    return nullptr;
  }
  return times(e->operands[0], real_like(1.0 / b->real, b));
}

ExprRef power_one(const ExprRef& e) {
  const ExprRef& b = e->operands[1];
  const bool is_one = is_constant(b) && (is_integer_constant(b, 1) || is_real_constant(b, 1.0));
  return is_one ? e->operands[0] : nullptr;
}

ExprRef double_negation(const ExprRef& e) {
  return e->operands[0]->op == Op::negate ? e->operands[0]->operands[0] : nullptr;
}

ExprRef equal_branches(const ExprRef& e) {
  return same(e->operands[1], e->operands[2]) ? e->operands[1] : nullptr;
}

ExprRef negated_condition(const ExprRef& e) {
  const ExprRef& condition = e->operands[0];
  if (condition->op != Op::logical_not) return nullptr;
  return make_select(condition->operands[0], e->operands[2], e->operands[1]);
}

struct FoldRule {
  Op op;  ///< of the node
  SimplifyRule rule;
  ExprRef (*apply)(const ExprRef& e);
};

/// The first one that applies is taken.
constexpr FoldRule fold_rules[] = {
    {Op::add, SimplifyRule::real_constants, real_constants},
    {Op::add, SimplifyRule::add_zero, add_zero},
    {Op::add, SimplifyRule::add_negated, add_negated},
    {Op::subtract, SimplifyRule::real_constants, real_constants},
    {Op::subtract, SimplifyRule::add_zero, add_zero},
    {Op::subtract, SimplifyRule::add_negated, add_negated},
    {Op::multiply, SimplifyRule::real_constants, real_constants},
    {Op::multiply, SimplifyRule::constant_right, constant_right},
    {Op::multiply, SimplifyRule::times_one, times_one},
    {Op::multiply, SimplifyRule::times_minus_one, times_minus_one},
    {Op::multiply, SimplifyRule::constant_factors, constant_factors},
    {Op::multiply, SimplifyRule::negated_factor, negated_factor},
    {Op::multiply, SimplifyRule::factor_into_branches, factor_into_branches},
    {Op::divide, SimplifyRule::real_constants, real_constants},
    {Op::divide, SimplifyRule::divide_constant, divide_constant},
    {Op::power, SimplifyRule::power_one, power_one},
    {Op::negate, SimplifyRule::real_constants, real_constants},
    {Op::negate, SimplifyRule::double_negation, double_negation},
    {Op::sqrt, SimplifyRule::constant_function, constant_function},
    {Op::exp, SimplifyRule::constant_function, constant_function},
    {Op::log, SimplifyRule::constant_function, constant_function},
    {Op::convert, SimplifyRule::constant_conversion, constant_conversion},
    {Op::select, SimplifyRule::equal_branches, equal_branches},
    {Op::select, SimplifyRule::negated_condition, negated_condition},
};

/// Null where no rule applies.
ExprRef fold_once(const ExprRef& e, RuleCounts* counts) {
  for (const FoldRule& row : fold_rules) {
    if (row.op != e->op) continue;
    ExprRef result = row.apply(e);
    if (result == nullptr) continue;
    count(counts, row.rule);
    return result;
  }
  return nullptr;
}

/// The operands are folded already.
ExprRef fold_node(const ExprRef& e, RuleCounts* counts) {
  ExprRef result = e;
  while (result->op == Op::select || is_real(result->type.scalar)) {
    ExprRef next = fold_once(result, counts);
    if (next == nullptr) break;
    result = std::move(next);
  }
  return result;
}

}  // namespace

ExprRef real_like(double value, const ExprRef& e) { return make_real(value, e->type.scalar); }

IndexRanges ranges_of(const std::vector<IndexRange>& indices,
                      const std::vector<IndexRange>& binders, int64_t batch) {
  IndexRanges ranges;
  for (const auto* list : {&indices, &binders}) {
    for (const IndexRange& index : *list) {
      ranges.add(index.name, index.begin, index.end);
    }
  }
  ranges.add_rows(batch);
  return ranges;
}

ExprRef fold(const ExprRef& e, const IndexRanges& ranges) {
  ExprRef result = rewrite(simplify_indices(e, ranges),
                           [&](const ExprRef& node) { return fold_node(node, ranges.counts); });
  // Folding reals can decide no integer, but flipped comparisons want their normal form again.
  return simplify_indices(result, ranges);
}

}  // namespace fusegrad::ir
