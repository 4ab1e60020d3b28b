// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is the same for all elements of a step is computed once a step: learning rates that follow a
// schedule, `beta ^ step`, the factor by which all gradients shrink.
#include <algorithm>
#include <vector>

#include "ir/passes/simplify_steps.h"
#include "ir/passes/widen.h"

namespace fusegrad::ir {
namespace {

/// Cheaper expressions are not worth a place in memory.
constexpr int64_t least_weight = 5;

/// What an expression is made of.
struct Ingredients {
  bool step = false;     ///< step, steps or epoch: the same in all batches of that step
  bool scalar = false;   ///< reads of tensors of rank 0
  bool element = false;  ///< anything that differs from element to element, or is better left alone
};

Ingredients ingredients(const ExprRef& e) {
  Ingredients found;
  walk(e, [&](const Expr& node) {
    switch (node.op) {
      case Op::uniform:
        // The rows stay where they are: `x / rows` needs no step of its own.
        found.step = found.step || (node.name != "rows" && node.name != "seed");
        found.scalar = found.scalar || node.name == "rows";
        break;
      case Op::read:
        (node.operands.empty() ? found.scalar : found.element) = true;
        break;
      case Op::index:
      case Op::variable:
      case Op::rand:
      case Op::normal:
        found.element = true;
        break;
      default:
        break;
    }
  });
  return found;
}

class Hoister {
 public:
  explicit Hoister(TensorProgram& program) : program_(program) {}

  /// How many statements there are for what was hoisted.
  int64_t run() {
    for (TensorStatement& statement : program_.statements) {
      if (statement.indices.empty() && statement.binders.empty()) continue;
      origin_ = statement.origin;
      base_ = statement.name;
      if (statement.condition != nullptr) statement.condition = visit(statement.condition);
      statement.value = visit(statement.value);
    }
    // They read nothing that is computed, so they may stand in front of everything.
    program_.statements.insert(program_.statements.begin(), hoisted_.begin(), hoisted_.end());
    return static_cast<int64_t>(hoisted_.size());
  }

 private:
  ExprRef visit(const ExprRef& e) {
    if (is_real(e->type.scalar) && instruction_weight(e) >= least_weight) {
      const Ingredients found = ingredients(e);
      if (found.step && !found.scalar && !found.element) return hoist(e);
    }
    if (e->operands.empty() || e->op == Op::read) return e;
    std::vector<ExprRef> operands;
    bool changed = false;
    for (const ExprRef& operand : e->operands) {
      operands.push_back(visit(operand));
      changed = changed || operands.back() != operand;
    }
    return changed ? with_operands(*e, std::move(operands)) : e;
  }

  ExprRef hoist(const ExprRef& e) {
    ExprRef value = widen(e);
    auto known = std::find_if(hoisted_.begin(), hoisted_.end(), [&](const TensorStatement& other) {
      return same(other.value, value);
    });
    if (known == hoisted_.end()) {
      TensorStatement statement;
      statement.name = program_.fresh_name(base_ + ".step");
      for (int i = 2; is_taken(statement.name); ++i) {
        statement.name = program_.fresh_name(base_ + ".step" + std::to_string(i));
      }
      statement.type = ScalarType::f64;
      statement.value = std::move(value);
      statement.origin = origin_;
      known = hoisted_.insert(hoisted_.end(), std::move(statement));
    }
    ExprRef read = make_read(known->name, ScalarType::f64, {});
    return e->type.scalar == ScalarType::f64 ? read : make_convert(e->type.scalar, read);
  }

  bool is_taken(const std::string& name) const {
    return std::any_of(hoisted_.begin(), hoisted_.end(),
                       [&](const TensorStatement& other) { return other.name == name; });
  }

  TensorProgram& program_;
  std::vector<TensorStatement> hoisted_;
  std::string base_;
  Span origin_;
};

}  // namespace

bool is_step_scalar(const TensorStatement& statement) {
  if (!statement.indices.empty() || statement.reduction != Reduction::none) return false;
  const Ingredients found = ingredients(statement.value);
  return found.step && !found.scalar && !found.element &&
         instruction_weight(statement.value) >= least_weight;
}

bool hoist_scalars(TensorProgram& program, RuleCounts* counts) {
  const int64_t hoisted = Hoister(program).run();
  if (counts != nullptr) counts->add(SimplifyRule::hoist_scalar, hoisted);
  return hoisted > 0;
}

}  // namespace fusegrad::ir
