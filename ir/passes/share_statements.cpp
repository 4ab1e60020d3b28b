// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Two statements that compute the same tensor become one, whatever their indices are called.
#include <fmt/format.h>

#include "ir/passes/simplify_steps.h"

namespace fusegrad::ir {
namespace {

/// The statement with its indices named by position, so that equal statements are equal
/// expressions.
TensorStatement canonical(const TensorStatement& statement) {
  TensorStatement result = statement;
  std::map<std::string, ExprRef> names;
  for (size_t i = 0; i < result.indices.size(); ++i) {
    std::string name = fmt::format("left{}", i);
    names[result.indices[i].name] = make_index(name);
    result.indices[i].name = name;
  }
  for (size_t i = 0; i < result.binders.size(); ++i) {
    std::string name = fmt::format("bound{}", i);
    names[result.binders[i].name] = make_index(name);
    result.binders[i].name = name;
  }
  if (result.condition != nullptr) result.condition = substitute(result.condition, names);
  result.value = substitute(result.value, names);
  return result;
}

bool equal(const TensorStatement& a, const TensorStatement& b) {
  bool conditions_equal = (a.condition == nullptr) == (b.condition == nullptr) &&
                          (a.condition == nullptr || same(a.condition, b.condition));
  return conditions_equal && a.type == b.type && a.reduction == b.reduction &&
         a.indices == b.indices && a.binders == b.binders && same(a.value, b.value);
}

}  // namespace

bool share_statements(TensorProgram& program, RuleCounts* counts) {
  bool changed = false;
  std::map<uint64_t, std::vector<std::pair<TensorStatement, std::string>>> seen;
  std::map<std::string, std::string> renamed;
  std::set<std::string> roots = root_names(program);
  std::vector<TensorStatement> kept;
  for (TensorStatement& statement : program.statements) {
    rewrite_statement(statement, [&](const ExprRef& node) -> ExprRef {
      if (node->op != Op::read) return node;
      auto found = renamed.find(node->name);
      if (found == renamed.end()) return node;
      Expr copy = *node;
      copy.name = found->second;
      return make_node(std::move(copy));
    });
    TensorStatement form = canonical(statement);
    auto& candidates = seen[form.value->hash()];
    bool duplicate = false;
    // A root keeps its own statement: it is stored or updated under its own name.
    if (!roots.contains(statement.name)) {
      for (const auto& [earlier, name] : candidates) {
        if (!equal(earlier, form)) continue;
        renamed[statement.name] = name;
        count(counts, SimplifyRule::share_statement);
        duplicate = true;
        changed = true;
        break;
      }
    }
    if (duplicate) continue;
    candidates.emplace_back(std::move(form), statement.name);
    kept.push_back(std::move(statement));
  }
  program.statements = std::move(kept);
  return changed;
}

}  // namespace fusegrad::ir
