// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A factor that does not change inside a sum leaves it: the sum becomes a plain contraction, and
// the factor meets the statements around it. Changes rounding (listed in docs/ir.md).
#include <algorithm>
#include <optional>

#include "ir/passes/simplify_steps.h"

namespace fusegrad::ir {
namespace {

struct Factors {
  ExprRef outside;  ///< product of the factors without binders; null if none
  ExprRef inside;   ///< product of the others; null if none
};

bool mentions_any(const ExprRef& e, const std::vector<IndexRange>& binders) {
  return std::any_of(binders.begin(), binders.end(),
                     [&](const IndexRange& binder) { return mentions_index(e, binder.name); });
}

/// Reads outside a sum are evaluated even where the sum's points were never reached, so only reads
/// that are in range by themselves may leave: plain left indices.
bool reads_are_plain(const ExprRef& e) {
  bool plain = true;
  walk(e, [&](const Expr& node) {
    if (node.op != Op::read || node.has_else) return;
    for (const ExprRef& index : node.operands)
      plain = plain && (is_index(index) || is_constant(index));
  });
  return plain;
}

ExprRef product(const ExprRef& a, const ExprRef& b) {
  if (a == nullptr) return b;
  if (b == nullptr) return a;
  return make_binary(Op::multiply, a, b);
}

Factors split(const ExprRef& e, const std::vector<IndexRange>& binders) {
  if (!mentions_any(e, binders) && reads_are_plain(e)) return {e, nullptr};
  if (e->op == Op::multiply) {
    Factors left = split(e->operands[0], binders);
    Factors right = split(e->operands[1], binders);
    return {product(left.outside, right.outside), product(left.inside, right.inside)};
  }
  if (e->op == Op::negate) {
    Factors inner = split(e->operands[0], binders);
    ExprRef minus_one = make_real(-1.0, e->type.scalar);
    return {inner.outside == nullptr ? minus_one : make_unary(Op::negate, inner.outside),
            inner.inside};
  }
  return {nullptr, e};
}

}  // namespace

bool pull_factors(TensorProgram& program, RuleCounts* counts) {
  std::set<std::string> names;
  for (const TensorDeclaration& declaration : program.declarations) names.insert(declaration.name);
  for (const TensorStatement& statement : program.statements) names.insert(statement.name);
  std::vector<TensorStatement> result;
  result.reserve(program.statements.size());
  bool changed = false;
  for (TensorStatement& sum : program.statements) {
    const bool may_split = sum.reduction == Reduction::sum && sum.condition == nullptr &&
                           is_real(sum.value->type.scalar) && sum.value->type.scalar == sum.type;
    const Factors factors = may_split ? split(sum.value, sum.binders) : Factors{};
    if (factors.outside == nullptr || factors.inside == nullptr) {
      result.push_back(std::move(sum));
      continue;
    }
    TensorStatement scaled = sum;
    scaled.reduction = Reduction::none;
    scaled.binders.clear();
    sum.value = factors.inside;
    sum.name = fresh_name(sum.name + ".sum", names);
    names.insert(sum.name);
    std::vector<ExprRef> indices;
    for (const IndexRange& index : scaled.indices) indices.push_back(make_index(index.name));
    scaled.value =
        make_binary(Op::multiply, make_read(sum.name, sum.type, indices), factors.outside);
    result.push_back(std::move(sum));
    result.push_back(std::move(scaled));
    count(counts, SimplifyRule::pull_factors);
    changed = true;
  }
  program.statements = std::move(result);
  return changed;
}

}  // namespace fusegrad::ir
