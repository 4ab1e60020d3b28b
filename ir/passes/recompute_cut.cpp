// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What of forward is stored for backward: a minimum cut. Cutting a node means to store its tensor,
// for the bytes that are written and read back; a node that stays on backward's side is computed
// again, for its instructions in all evaluations, turned into bytes by what a byte is worth.
#include <algorithm>

#include "ir/passes/minimum_cut.h"
#include "ir/passes/recompute_steps.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// Expressions beyond this size are not put into readers: they would bloat every later stage.
constexpr int64_t maximum_recomputed_nodes = 200;
/// A sum of so many points may run in lanes, in an order that depends on what it reads.
constexpr int64_t long_sum = 16;

bool is_random(const ExprRef& e) {
  bool found = false;
  walk(e, [&](const Expr& node) { found = found || node.op == Op::rand || node.op == Op::normal; });
  return found;
}

/// May the expression of a map stand in the place of this read without a change of bits or bounds?
bool takes_expression(const TensorStatement& reader, const Expr& read) {
  // The guard of a read is not seen by the bounds of the reads that would come into it.
  if (read.has_else) return false;
  if (reader.reduction != Reduction::sum) return true;
  // What a long sum reads decides how it is scheduled, and so the order of its elements. A sum of
  // products is a chain of fused multiply-adds: a product that was stored was rounded before.
  const bool is_whole_value = reader.value->op == Op::read && reader.value->name == read.name;
  return points_of(reader.binders) < long_sum && !is_whole_value;
}

class Planner {
 public:
  Planner(const StepStudy& step, const std::set<std::string>& stored)
      : step_(step),
        statements_(step.program.statements),
        stored_(stored),
        count_(statements_.size()) {}

  SavePlan run() {
    find_candidates();
    count_evaluations();
    cut();
    for (size_t i = 0; i < count_; ++i) {
      if (!step_.demands[i].empty()) plan_.choices[i] = choice(i);
    }
    return std::move(plan_);
  }

 private:
  const TensorStatement& statement(size_t i) const { return statements_[i]; }

  /// A map whose readers can all take its expression.
  void find_candidates() {
    nodes_.assign(count_, 0);
    refusal_.assign(count_, SaveReason::recomputed);
    refusing_reader_.assign(count_, "");
    for (size_t i = 0; i < count_; ++i) {
      if (step_.late[i]) continue;
      const TensorStatement& map = statement(i);
      if (map.reduction != Reduction::none) {
        refusal_[i] = SaveReason::reduction;
        continue;
      }
      if (stored_.contains(map.name)) {
        refusal_[i] = SaveReason::no_gain;
        continue;
      }
      nodes_[i] = map.value->node_count();
      visit_reads(map, [&](const Expr& read) {
        auto source = step_.number.find(read.name);
        if (source == step_.number.end()) return;
        if (is_candidate(source->second))
          nodes_[i] = saturating_add(nodes_[i], nodes_[source->second]);
        // A tensor that is read with an `else` inside of the expression must be there.
        if (read.has_else) guarded_.insert(source->second);
      });
      if (nodes_[i] > maximum_recomputed_nodes) refusal_[i] = SaveReason::large;
      for (const CrossRead& demand : step_.demands[i]) {
        if (takes_expression(statement(demand.reader), *demand.read)) continue;
        if (is_candidate(i)) refuse_for_reader(i, statement(demand.reader).name);
      }
    }
    // A map that an expression reads with `else` is not put into it.
    for (size_t i : guarded_) {
      if (is_candidate(i)) refuse_for_reader(i, "");
    }
  }

  void refuse_for_reader(size_t i, const std::string& reader) {
    refusal_[i] = SaveReason::reader;
    refusing_reader_[i] = reader;
  }

  bool is_candidate(size_t i) const {
    return !step_.late[i] && refusal_[i] == SaveReason::recomputed;
  }

  /// How often each expression is evaluated if all candidates are computed again: in every point of
  /// every late reader, and wherever a candidate that reads it is evaluated. No reuse is assumed.
  void count_evaluations() {
    evaluations_.assign(count_, 0);
    for (size_t i = count_; i-- > 0;) {
      if (step_.late[i]) continue;
      for (const CrossRead& demand : step_.demands[i]) {
        evaluations_[i] =
            saturating_add(evaluations_[i], evaluation_points(statement(demand.reader)));
      }
      if (!is_candidate(i) || evaluations_[i] == 0) continue;
      visit_reads(statement(i), [&](const Expr& read) {
        auto source = step_.number.find(read.name);
        if (source == step_.number.end()) return;
        evaluations_[source->second] =
            saturating_add(evaluations_[source->second], evaluations_[i]);
      });
    }
  }

  int64_t instructions(size_t i) const {
    return saturating_multiply(instruction_weight(statement(i).value), evaluations_[i]);
  }

  /// A function of coordinates alone: nothing but the statement itself would have to be kept.
  bool is_pure_random(size_t i) const {
    bool reads_computed = false;
    visit_reads(statement(i), [&](const Expr& read) {
      reads_computed = reads_computed || step_.number.contains(read.name);
    });
    return !reads_computed && is_random(statement(i).value);
  }

  /// Random numbers that are read element by element are never stored.
  int64_t charge(size_t i) const {
    const int64_t elements = tensor_bytes(statement(i)) / byte_size(statement(i).type);
    const auto readers = static_cast<int64_t>(step_.demands[i].size());
    if (is_pure_random(i) && evaluations_[i] <= saturating_multiply(elements, readers)) return 0;
    return instructions(i) / instructions_per_byte;
  }

  int64_t storing(size_t i) const {
    const int64_t bytes = tensor_bytes(statement(i));
    return step_.written_anyway[i] ? bytes : saturating_add(bytes, bytes);
  }

  /// Two nodes for each forward statement that backward could reach: its inputs are known, its
  /// value is known.
  void cut() {
    FlowGraph graph(2 * count_ + 2);
    const size_t source = 2 * count_;
    const size_t sink = source + 1;
    for (size_t i = 0; i < count_; ++i) {
      if (step_.late[i] || evaluations_[i] == 0) continue;
      const size_t inputs = 2 * i;
      const size_t value = 2 * i + 1;
      // Zero would let the cut go through tensors for nothing.
      graph.add_edge(inputs, value, std::clamp<int64_t>(storing(i), 1, FlowGraph::infinite / 4096));
      if (!step_.demands[i].empty()) graph.add_edge(value, sink, FlowGraph::infinite);
      if (!is_candidate(i)) {
        graph.add_edge(source, inputs, FlowGraph::infinite);
        continue;
      }
      graph.add_edge(source, inputs, std::min(charge(i), FlowGraph::infinite / 4096));
      visit_reads(statement(i), [&](const Expr& read) {
        auto operand = step_.number.find(read.name);
        if (operand != step_.number.end())
          graph.add_edge(2 * operand->second + 1, inputs, FlowGraph::infinite);
      });
    }
    const FlowGraph::Cut found = graph.minimum_cut(source, sink);
    FG_CHECK(found.capacity < FlowGraph::infinite, "no tensors to keep for backward");
    plan_.recomputed.assign(count_, false);
    for (size_t i = 0; i < count_; ++i) {
      plan_.recomputed[i] = found.on_sink_side[2 * i] && is_candidate(i);
    }
  }

  SaveChoice choice(size_t i) const {
    SaveChoice made;
    made.bytes = storing(i);
    made.instructions = instructions(i);
    made.reader = refusing_reader_[i];
    made.reason = plan_.recomputed[i] ? SaveReason::recomputed
                  : is_candidate(i)   ? SaveReason::cheaper_stored
                                      : refusal_[i];
    return made;
  }

  const StepStudy& step_;
  const std::vector<TensorStatement>& statements_;
  const std::set<std::string>& stored_;
  const size_t count_;
  std::vector<int64_t> nodes_;  ///< of the expression with those of candidates in their places
  std::vector<SaveReason> refusal_;
  std::vector<std::string> refusing_reader_;
  std::set<size_t> guarded_;
  std::vector<int64_t> evaluations_;
  SavePlan plan_;
};

/// Writes expressions in the places of reads.
class Expander {
 public:
  Expander(const StepStudy& step, const SavePlan& plan) : step_(step), plan_(plan) {}

  /// The value of the map at the operands of the read.
  ExprRef expand(size_t map, const Expr& read) const {
    const ExprRef written = value_at(step_.program.statements[map], read.operands);
    // Bottom-up: operands of inner reads have been changed when their read is looked at.
    return rewrite(written, [&](const ExprRef& node) -> ExprRef {
      if (node->op != Op::read) return node;
      auto source = step_.number.find(node->name);
      if (source == step_.number.end() || !plan_.recomputed[source->second]) return node;
      return expand(source->second, *node);
    });
  }

 private:
  const StepStudy& step_;
  const SavePlan& plan_;
};

}  // namespace

SavePlan plan_saves(const StepStudy& step, const std::set<std::string>& stored) {
  return Planner(step, stored).run();
}

TensorProgram apply_saves(const StepStudy& step, const SavePlan& plan) {
  TensorProgram result = step.program;
  const Expander expander(step, plan);
  for (size_t reader = 0; reader < result.statements.size(); ++reader) {
    if (!step.late[reader]) continue;
    rewrite_statement(result.statements[reader], [&](const ExprRef& node) -> ExprRef {
      if (node->op != Op::read) return node;
      auto source = step.number.find(node->name);
      if (source == step.number.end() || step.late[source->second]) return node;
      // In the kernel that makes it, it costs nothing.
      if (!plan.recomputed[source->second] || step.same_kernel(source->second, reader)) return node;
      return expander.expand(source->second, *node);
    });
  }
  remove_dead_statements(result);
  return result;
}

}  // namespace fusegrad::ir
