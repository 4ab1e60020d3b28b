// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The order of the simplification steps, repeated until nothing changes.
#include <functional>

#include "ir/passes/fold.h"
#include "ir/passes/passes.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {

std::set<std::string> root_names(const TensorProgram& program) {
  std::set<std::string> roots;
  for (const TensorResult& result : program.results) roots.insert(result.tensor);
  for (const TensorUpdate& update : program.updates) roots.insert(update.value);
  return roots;
}

void visit_reads(const TensorStatement& statement, const std::function<void(const Expr&)>& visit) {
  auto visit_node = [&](const Expr& node) {
    if (node.op == Op::read) visit(node);
  };
  if (statement.condition != nullptr) walk(statement.condition, visit_node);
  walk(statement.value, visit_node);
}

void rewrite_statement(TensorStatement& statement,
                       const std::function<ExprRef(const ExprRef&)>& change) {
  if (statement.condition != nullptr) statement.condition = rewrite(statement.condition, change);
  statement.value = rewrite(statement.value, change);
}

int64_t instruction_weight(const ExprRef& e) {
  if (e->op == Op::read) {
    return e->has_else ? 1 + instruction_weight(e->else_value()) : 0;
  }
  if (is_integer(e->type.scalar)) return 0;
  int64_t weight = 0;
  for (const ExprRef& operand : e->operands) weight += instruction_weight(operand);
  switch (e->op) {
    case Op::constant:
    case Op::index:
    case Op::uniform:
    case Op::variable:
      return 0;
    case Op::divide:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::power:
      return weight + 4;
    case Op::exp:
    case Op::log:
    case Op::log1p:
    case Op::expm1:
    case Op::tanh:
    case Op::erf:
    case Op::sin:
    case Op::cos:
      return weight + 16;
    case Op::rand:
    case Op::normal:
      return weight + 24;
    default:
      return weight + 1;
  }
}

bool fold_statements(TensorProgram& program) {
  bool changed = false;
  for (TensorStatement& statement : program.statements) {
    std::map<std::string, ExprRef> single;
    for (const IndexRange& index : statement.indices) {
      if (index.end == Extent::number(1)) single[index.name] = make_integer(0);
    }
    std::vector<IndexRange> binders;
    for (const IndexRange& binder : statement.binders) {
      if (!binder.end.depends_on_rows() && binder.end.maximum - binder.begin == 1) {
        single[binder.name] = make_integer(binder.begin);
      } else {
        binders.push_back(binder);
      }
    }
    // Over one point, a sum, a maximum and a minimum are that point; what the others give is not of
    // the value's type, and an integer has no neutral value for a condition that fails. They keep a
    // binder.
    bool is_extremum =
        statement.reduction == Reduction::max || statement.reduction == Reduction::min;
    bool may_become_map =
        statement.reduction == Reduction::sum ||
        (is_extremum && (statement.condition == nullptr || is_real(statement.value->type.scalar)));
    if (!may_become_map && binders.empty() && !statement.binders.empty()) {
      single.erase(statement.binders.front().name);
      binders.push_back(statement.binders.front());
    }
    IndexRanges ranges = ranges_of(statement.indices, statement.binders, program.batch);
    auto simplify_expression = [&](ExprRef& e) {
      ExprRef folded = fold(substitute(e, single), ranges);
      if (!same(folded, e)) {
        e = folded;
        changed = true;
      }
    };
    if (statement.condition != nullptr) simplify_expression(statement.condition);
    simplify_expression(statement.value);
    if (statement.condition != nullptr && is_boolean_constant(statement.condition, true)) {
      statement.condition = nullptr;
      changed = true;
    }
    if (binders.size() != statement.binders.size()) {
      statement.binders = binders;
      changed = true;
    }
    if (statement.reduction != Reduction::none && statement.binders.empty()) {
      if (statement.condition != nullptr) {
        double neutral = statement.reduction == Reduction::sum   ? 0.0
                         : statement.reduction == Reduction::max ? -HUGE_VAL
                                                                 : HUGE_VAL;
        ExprRef value = is_real(statement.value->type.scalar)
                            ? make_real(neutral, statement.value->type.scalar)
                            : make_integer(0);
        statement.value = make_select(statement.condition, statement.value, value);
        statement.condition = nullptr;
      }
      statement.reduction = Reduction::none;
      changed = true;
    }
  }
  return changed;
}

bool remove_dead_statements(TensorProgram& program) {
  std::set<std::string> live = root_names(program);
  std::vector<TensorStatement> kept;
  for (size_t i = program.statements.size(); i-- > 0;) {
    TensorStatement& statement = program.statements[i];
    if (!live.contains(statement.name)) continue;
    visit_reads(statement, [&](const Expr& read) { live.insert(read.name); });
    kept.push_back(std::move(statement));
  }
  bool changed = kept.size() != program.statements.size();
  program.statements.assign(std::make_move_iterator(kept.rbegin()),
                            std::make_move_iterator(kept.rend()));
  return changed;
}

TensorProgram simplify(const TensorProgram& program) {
  TensorProgram result = strip_gradient_marks(program);
  // Every round removes a statement or shrinks an expression, so the rounds end long before this
  // limit.
  constexpr int maximum_rounds = 100;
  bool changed = true;
  for (int round = 0; changed; ++round) {
    FG_CHECK(round < maximum_rounds, "simplification of `{}` does not end", program.name);
    changed = remove_dead_statements(result);
    changed = fold_statements(result) || changed;
    changed = inline_maps(result) || changed;
    changed = pull_factors(result) || changed;
    changed = hoist_scalars(result) || changed;
    changed = share_statements(result) || changed;
  }
  return result;
}

}  // namespace fusegrad::ir
