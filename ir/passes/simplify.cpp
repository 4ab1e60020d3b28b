// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The order of the simplification steps, repeated until nothing changes.
#include <algorithm>
#include <functional>

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

ExprRef value_at(const TensorStatement& map, const std::vector<ExprRef>& element) {
  std::map<std::string, ExprRef> by_name;
  for (size_t d = 0; d < map.indices.size(); ++d) by_name[map.indices[d].name] = element[d];
  return substitute(map.value, by_name);
}

int64_t points_of(const std::vector<IndexRange>& indices) {
  int64_t points = 1;
  for (const IndexRange& index : indices) {
    points = saturating_multiply(points, std::max<int64_t>(0, index.end.maximum - index.begin));
  }
  return points;
}

int64_t tensor_bytes(const TensorStatement& statement) {
  return saturating_multiply(byte_size(statement.type), points_of(statement.indices));
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

bool remove_dead_statements(TensorProgram& program, RuleCounts* counts) {
  std::set<std::string> live = root_names(program);
  std::vector<TensorStatement> kept;
  for (size_t i = program.statements.size(); i-- > 0;) {
    TensorStatement& statement = program.statements[i];
    if (!live.contains(statement.name)) continue;
    visit_reads(statement, [&](const Expr& read) { live.insert(read.name); });
    kept.push_back(std::move(statement));
  }
  const auto removed = static_cast<int64_t>(program.statements.size() - kept.size());
  if (counts != nullptr) counts->add(SimplifyRule::remove_dead, removed);
  program.statements.assign(std::make_move_iterator(kept.rbegin()),
                            std::make_move_iterator(kept.rend()));
  return removed > 0;
}

TensorProgram simplify(const TensorProgram& program, RuleCounts* counts) {
  TensorProgram result = strip_gradient_marks(program);
  // Every round removes a statement or shrinks an expression, so the rounds end long before this
  // limit.
  constexpr int maximum_rounds = 100;
  bool changed = true;
  for (int round = 0; changed; ++round) {
    FG_CHECK(round < maximum_rounds, "simplification of `{}` does not end", program.name);
    changed = remove_dead_statements(result, counts);
    changed = fold_statements(result, counts) || changed;
    changed = inline_maps(result, counts) || changed;
    changed = pull_factors(result, counts) || changed;
    changed = hoist_scalars(result, counts) || changed;
    changed = share_statements(result, counts) || changed;
  }
  return result;
}

}  // namespace fusegrad::ir
