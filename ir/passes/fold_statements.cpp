// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is decided about one statement by itself: indices and binders of one value, conditions that
// are true, reductions over one point; and its expressions, folded.
#include <algorithm>
#include <cmath>

#include "ir/passes/fold.h"
#include "ir/passes/simplify_steps.h"

namespace fusegrad::ir {
namespace {

/// Folds one statement. Its rules are methods.
class StatementFolder {
 public:
  StatementFolder(TensorStatement& statement, int64_t batch, RuleCounts* counts)
      : statement_(statement),
        ranges_(ranges_of(statement.indices, statement.binders, batch)),
        counts_(counts) {
    ranges_.counts = counts;
  }

  /// Says whether something changed.
  bool run() {
    single_indices();
    single_binders();
    if (statement_.condition != nullptr) fold_expression(statement_.condition);
    fold_expression(statement_.value);
    true_condition();
    single_point();
    return changed_;
  }

 private:
  void applied(SimplifyRule rule) {
    count(counts_, rule);
    changed_ = true;
  }

  bool is_mentioned(const std::string& index) const {
    return mentions_index(statement_.value, index) ||
           (statement_.condition != nullptr && mentions_index(statement_.condition, index));
  }

  /// An index of extent 1 is 0 wherever it is read; it stays on the left, where it is the shape.
  void single_indices() {
    for (const IndexRange& index : statement_.indices) {
      if (!(index.end == Extent::number(1)) || !is_mentioned(index.name)) continue;
      known_[index.name] = make_integer(0);
      applied(SimplifyRule::single_index);
    }
  }

  /// Over one point, a sum, a maximum and a minimum are that point; what the others give is not of
  /// the value's type, and an integer has no neutral value for a condition that fails.
  bool may_become_map() const {
    const Reduction reduction = statement_.reduction;
    const bool is_extremum = reduction == Reduction::max || reduction == Reduction::min;
    return reduction == Reduction::sum || (is_extremum && (statement_.condition == nullptr ||
                                                           is_real(statement_.value->type.scalar)));
  }

  /// A binder of one value is that value. A reduction that is no map keeps one.
  void single_binders() {
    std::vector<IndexRange> kept;
    for (const IndexRange& binder : statement_.binders) {
      const bool is_single =
          !binder.end.depends_on_rows() && binder.end.maximum - binder.begin == 1;
      if (!is_single) kept.push_back(binder);
    }
    if (kept.empty() && !statement_.binders.empty() && !may_become_map()) {
      kept.push_back(statement_.binders.front());
    }
    if (kept.size() == statement_.binders.size()) return;
    for (const IndexRange& binder : statement_.binders) {
      if (std::find(kept.begin(), kept.end(), binder) != kept.end()) continue;
      known_[binder.name] = make_integer(binder.begin);
      applied(SimplifyRule::single_binder);
    }
    statement_.binders = std::move(kept);
  }

  /// Every rule in it counts itself.
  void fold_expression(ExprRef& e) {
    ExprRef folded = fold(substitute(e, known_), ranges_);
    if (same(folded, e)) return;
    e = std::move(folded);
    changed_ = true;
  }

  void true_condition() {
    if (statement_.condition == nullptr || !is_boolean_constant(statement_.condition, true)) return;
    statement_.condition = nullptr;
    applied(SimplifyRule::true_condition);
  }

  /// A reduction without binders is a map; where its condition fails, it is the neutral value.
  void single_point() {
    if (statement_.reduction == Reduction::none || !statement_.binders.empty()) return;
    if (statement_.condition != nullptr) {
      const double neutral = statement_.reduction == Reduction::sum   ? 0.0
                             : statement_.reduction == Reduction::max ? -HUGE_VAL
                                                                      : HUGE_VAL;
      const ScalarType type = statement_.value->type.scalar;
      statement_.value = make_select(statement_.condition, statement_.value,
                                     is_real(type) ? make_real(neutral, type) : make_integer(0));
      statement_.condition = nullptr;
    }
    statement_.reduction = Reduction::none;
    applied(SimplifyRule::single_point);
  }

  TensorStatement& statement_;
  IndexRanges ranges_;
  RuleCounts* counts_;
  std::map<std::string, ExprRef> known_;  ///< indices with one value
  bool changed_ = false;
};

}  // namespace

bool fold_statements(TensorProgram& program, RuleCounts* counts) {
  bool changed = false;
  for (TensorStatement& statement : program.statements) {
    changed = StatementFolder(statement, program.batch, counts).run() || changed;
  }
  return changed;
}

}  // namespace fusegrad::ir
