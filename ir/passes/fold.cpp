// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Local rewriting. One rule, one line of reason; rules that change rounding are named in
// docs/ir.md.
#include "ir/passes/fold.h"

#include <cmath>
#include <optional>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

ExprRef real_like(double value, const ExprRef& e) { return make_real(value, e->type.scalar); }

bool is_real_constant(const ExprRef& e) { return is_constant(e) && is_real(e->type.scalar); }

std::optional<double> fold_real(Op op, double a, double b) {
  switch (op) {
    case Op::add:
      return a + b;
    case Op::subtract:
      return a - b;
    case Op::multiply:
      return a * b;
    case Op::divide:
      return a / b;
    default:
      return std::nullopt;
  }
}

ExprRef fold_product(const ExprRef& e) {
  ExprRef a = e->operands[0];
  ExprRef b = e->operands[1];
  if (is_real_constant(a) && !is_real_constant(b)) std::swap(a, b);  // the constant goes right
  if (is_real_constant(b, 1.0)) return a;
  if (is_real_constant(b, -1.0)) return make_unary(Op::negate, a);
  // (x * c) * d -> x * (c * d)
  if (is_real_constant(b) && a->op == Op::multiply && is_real_constant(a->operands[1])) {
    return fold_product(
        make_binary(Op::multiply, a->operands[0], real_like(a->operands[1]->real * b->real, b)));
  }
  // (-x) * c -> x * (-c)
  if (is_real_constant(b) && a->op == Op::negate) {
    return fold_product(make_binary(Op::multiply, a->operands[0], real_like(-b->real, b)));
  }
  // (if c then k else l) * d with constants k, l: into the branches
  if (is_real_constant(b) && a->op == Op::select && is_real_constant(a->operands[1]) &&
      is_real_constant(a->operands[2])) {
    return make_select(a->operands[0], real_like(a->operands[1]->real * b->real, b),
                       real_like(a->operands[2]->real * b->real, b));
  }
  if (a == e->operands[0] && b == e->operands[1]) return e;
  return make_binary(Op::multiply, a, b);
}

ExprRef fold_real_binary(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  const ExprRef& b = e->operands[1];
  if (is_real_constant(a) && is_real_constant(b)) {
    if (std::optional<double> value = fold_real(e->op, a->real, b->real)) {
      return real_like(*value, e);
    }
  }
  switch (e->op) {
    case Op::add:
      if (is_real_constant(a, 0.0)) return b;
      if (is_real_constant(b, 0.0)) return a;
      if (b->op == Op::negate) return make_binary(Op::subtract, a, b->operands[0]);
      return e;
    case Op::subtract:
      if (is_real_constant(b, 0.0)) return a;
      if (b->op == Op::negate) return make_binary(Op::add, a, b->operands[0]);
      return e;
    case Op::multiply:
      return fold_product(e);
    case Op::divide:
      if (is_real_constant(b) && b->real != 0 && std::isfinite(1.0 / b->real) &&
          std::isfinite(b->real)) {
        return fold_product(make_binary(Op::multiply, a, real_like(1.0 / b->real, b)));
      }
      return e;
    case Op::power:
      if (is_constant(b) && (is_integer_constant(b, 1) || is_real_constant(b, 1.0))) return a;
      return e;
    default:
      return e;
  }
}

Op negated_comparison(Op op) {
  switch (op) {
    case Op::less:
      return Op::greater_equal;
    case Op::less_equal:
      return Op::greater;
    case Op::greater:
      return Op::less_equal;
    case Op::greater_equal:
      return Op::less;
    case Op::equal:
      return Op::not_equal;
    default:
      return Op::equal;
  }
}

ExprRef fold_unary(const ExprRef& e) {
  const ExprRef& a = e->operands[0];
  switch (e->op) {
    case Op::negate:
      if (a->op == Op::negate) return a->operands[0];
      if (is_real_constant(a)) return real_like(-a->real, a);
      return e;
    case Op::logical_not:
      if (a->op == Op::logical_not) return a->operands[0];
      // Integer comparisons have no NaN: their negation is a comparison.
      if (is_comparison(a->op) && is_integer(a->operands[0]->type.scalar)) {
        return make_binary(negated_comparison(a->op), a->operands[0], a->operands[1]);
      }
      return e;
    case Op::sqrt:
      if (is_real_constant(a) && a->real >= 0) return real_like(std::sqrt(a->real), a);
      return e;
    case Op::exp:
      if (is_real_constant(a)) return real_like(std::exp(a->real), a);
      return e;
    case Op::log:
      if (is_real_constant(a) && a->real > 0) return real_like(std::log(a->real), a);
      return e;
    case Op::convert:
      if (a->type == e->type) return a;
      if (is_real(e->type.scalar) && is_constant(a)) {
        double value = is_real(a->type.scalar) ? a->real : static_cast<double>(a->integer);
        // Only where the narrower type holds the value exactly; otherwise the conversion's rounding
        // is meant.
        if (e->type.scalar == ScalarType::f64 ||
            static_cast<double>(static_cast<float>(value)) == value) {
          return make_real(value, e->type.scalar);
        }
      }
      return e;
    default:
      return e;
  }
}

ExprRef fold_node(const ExprRef& e) {
  if (e->op == Op::select) {
    if (same(e->operands[1], e->operands[2])) return e->operands[1];
    if (e->operands[0]->op == Op::logical_not) {
      return make_select(e->operands[0]->operands[0], e->operands[2], e->operands[1]);
    }
    return e;
  }
  if (e->op == Op::read || is_comparison(e->op)) return e;
  if (e->operands.size() == 2 && is_real(e->type.scalar)) return fold_real_binary(e);
  if (e->operands.size() == 1) return fold_unary(e);
  return e;
}

}  // namespace

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
  ExprRef result = rewrite(simplify_indices(e, ranges), fold_node);
  // Folding reals can decide no integer, but flipped comparisons want their normal form again.
  return simplify_indices(result, ranges);
}

}  // namespace fusegrad::ir
