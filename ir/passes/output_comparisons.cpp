// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Backward of `r = if y <= 0 then 0 else y` asks whether `y <= 0`. So does `r <= 0`, and r is in
// memory anyway, for the next layer. In general: the answer of `r op c` is followed through all
// cases of the conditions around; where it differs from that of `y op c`, both must lead to the
// same value.
#include <algorithm>
#include <cmath>
#include <optional>

#include "ir/passes/recompute_steps.h"
#include "ir/passes/simplify_steps.h"

namespace fusegrad::ir {
namespace {

/// Conditions that are told apart; 2 to this power cases are looked at.
constexpr size_t maximum_conditions = 4;
/// Expressions beyond this size are not studied.
constexpr int64_t maximum_studied_nodes = 200;
/// Outputs that are tried for one input.
constexpr size_t maximum_outputs = 8;

using Case = std::vector<std::pair<ExprRef, bool>>;  ///< conditions with their truth

std::optional<bool> truth_in(const Case& assumed, const ExprRef& condition) {
  if (condition->op == Op::constant) return condition->integer != 0;
  for (const auto& [known, truth] : assumed) {
    if (same(known, condition)) return truth;
  }
  return std::nullopt;
}

/// Conditions of all selects in the expression that are not there yet; constants are none.
void collect_conditions(const ExprRef& e, std::vector<ExprRef>& conditions) {
  if (e->op == Op::select && !is_constant(e->operands[0]) &&
      std::none_of(conditions.begin(), conditions.end(),
                   [&](const ExprRef& known) { return same(known, e->operands[0]); })) {
    conditions.push_back(e->operands[0]);
  }
  for (const ExprRef& operand : e->operands) collect_conditions(operand, conditions);
}

/// The expression in one case: every select whose condition is known becomes one of its branches.
ExprRef in_case(const ExprRef& e, const Case& assumed) {
  if (e->op == Op::select) {
    if (const std::optional<bool> truth = truth_in(assumed, e->operands[0]))
      return in_case(e->operands[*truth ? 1 : 2], assumed);
  }
  if (e->operands.empty()) return e;
  std::vector<ExprRef> operands;
  for (const ExprRef& operand : e->operands) operands.push_back(in_case(operand, assumed));
  return with_operands(*e, std::move(operands));
}

bool compares(Op op, double a, double b) {
  switch (op) {
    case Op::less:
      return a < b;
    case Op::less_equal:
      return a <= b;
    case Op::greater:
      return a > b;
    default:
      return a >= b;
  }
}

/// `read op constant` with an order; equality is no comparison of signs.
bool is_order_with_constant(const Expr& e) {
  const bool is_order = e.op == Op::less || e.op == Op::less_equal || e.op == Op::greater ||
                        e.op == Op::greater_equal;
  return is_order && e.operands[0]->op == Op::read && !e.operands[0]->has_else &&
         is_real(e.operands[0]->type.scalar) && is_constant(e.operands[1]);
}

/// Scaling by a number of at least 1 keeps the sign of every number, and zero, infinity and NaN:
/// nothing becomes too small to be told from zero.
ExprRef without_scale(const ExprRef& e) {
  if (e->op != Op::multiply || !is_constant(e->operands[1])) return e;
  const double scale = e->operands[1]->real;
  return scale >= 1 && std::isfinite(scale) ? without_scale(e->operands[0]) : e;
}

/// Whether `value op constant` holds in a case where `question` (`read op constant`) has the answer
/// `truth`.
std::optional<bool> answer(const ExprRef& value, const Expr& question, bool truth) {
  const double limit = question.operands[1]->real;
  const ExprRef compared = limit == 0 ? without_scale(value) : value;
  if (is_constant(compared)) return compares(question.op, compared->real, limit);
  if (same(compared, question.operands[0])) return truth;
  return std::nullopt;
}

/// All comparisons of late readers that read `input` in another kernel; nothing if it is read in
/// any other way too.
std::optional<std::map<size_t, std::vector<ExprRef>>> questions_about(const StepStudy& step,
                                                                      size_t input) {
  std::map<size_t, std::vector<ExprRef>> questions;
  for (const CrossRead& demand : step.demands[input]) {
    if (questions.contains(demand.reader)) continue;
    std::vector<ExprRef>& found = questions[demand.reader];
    const std::string& name = step.program.statements[input].name;
    // What is left without the comparisons does not read it.
    TensorStatement rest = step.program.statements[demand.reader];
    rewrite_statement(rest, [&](const ExprRef& node) {
      if (!is_order_with_constant(*node) || node->operands[0]->name != name) return node;
      found.push_back(node);
      return make_boolean(true);
    });
    bool reads_otherwise = false;
    visit_reads(rest,
                [&](const Expr& read) { reads_otherwise = reads_otherwise || read.name == name; });
    if (reads_otherwise) return std::nullopt;
  }
  return questions;
}

/// The position among the output's indices of each dimension of the input, if the output reads the
/// input only at its own element.
std::optional<std::vector<size_t>> element_of(const TensorStatement& output,
                                              const TensorStatement& input) {
  std::optional<std::vector<size_t>> positions;
  bool same_element = output.indices.size() == input.indices.size();
  visit_reads(output, [&](const Expr& read) {
    if (read.name != input.name) return;
    std::vector<size_t> here;
    for (size_t d = 0; d < read.index_count() && !read.has_else; ++d) {
      for (size_t i = 0; i < output.indices.size(); ++i) {
        if (is_index(read.operands[d]) && read.operands[d]->name == output.indices[i].name &&
            output.indices[i].end == input.indices[d].end) {
          here.push_back(i);
        }
      }
    }
    std::set<size_t> distinct(here.begin(), here.end());
    same_element = same_element && here.size() == input.indices.size() &&
                   distinct.size() == here.size() && (!positions || *positions == here);
    positions = std::move(here);
  });
  return same_element ? positions : std::nullopt;
}

/// The element of the output that is made of the element of the input that `read` reads.
std::vector<ExprRef> output_element(const std::vector<size_t>& positions, const Expr& read) {
  std::vector<ExprRef> element(positions.size());
  for (size_t d = 0; d < positions.size(); ++d) element[positions[d]] = read.operands[d];
  return element;
}

/// The value of a late statement with the maps of its own kernel written out.
ExprRef written_out(const StepStudy& step, size_t reader) {
  const ExprRef& value = step.program.statements[reader].value;
  return rewrite(value, [&](const ExprRef& node) -> ExprRef {
    if (node->op != Op::read || node->has_else) return node;
    auto source = step.number.find(node->name);
    if (source == step.number.end() || !step.same_kernel(source->second, reader)) return node;
    const TensorStatement& map = step.program.statements[source->second];
    if (map.reduction != Reduction::none || map.value->node_count() > maximum_studied_nodes)
      return node;
    return value_at(map, node->operands);
  });
}

bool contains(const ExprRef& e, const ExprRef& part) {
  return same(e, part) ||
         std::any_of(e->operands.begin(), e->operands.end(),
                     [&](const ExprRef& operand) { return contains(operand, part); });
}

/// Does the reader keep its value in every case if `question` is put to the output?
bool output_answers(const StepStudy& step, size_t reader, const ExprRef& question,
                    const TensorStatement& output, const std::vector<size_t>& positions) {
  const ExprRef made = value_at(output, output_element(positions, *question->operands[0]));
  std::vector<ExprRef> conditions = {question};
  collect_conditions(made, conditions);
  const TensorStatement& statement = step.program.statements[reader];
  bool in_condition = false;
  if (statement.condition != nullptr) {
    walk(statement.condition, [&](const Expr& node) {
      in_condition =
          in_condition || (node.op == Op::read && node.name == question->operands[0]->name);
    });
  }
  ExprRef value;  // of the reader; only where the answers differ
  for (size_t attempt = 0; attempt < 2; ++attempt) {
    if (conditions.size() > maximum_conditions) return false;
    bool needs_value = false;
    for (size_t bits = 0; bits < (size_t{1} << conditions.size()); ++bits) {
      Case assumed;
      for (size_t c = 0; c < conditions.size(); ++c)
        assumed.emplace_back(conditions[c], ((bits >> c) & 1) != 0);
      const bool truth = assumed.front().second;
      const std::optional<bool> instead = answer(in_case(made, assumed), *question, truth);
      if (!instead) return false;
      if (*instead == truth) continue;
      if (in_condition) return false;
      if (value == nullptr) {
        needs_value = true;
        break;
      }
      Case other = assumed;
      other.front().second = *instead;
      const ExprRef one_way = in_case(value, assumed);
      if (!same(one_way, in_case(value, other)) || contains(one_way, question)) return false;
    }
    if (!needs_value) return true;
    value = written_out(step, reader);
    if (value->node_count() > maximum_studied_nodes) return false;
    collect_conditions(value, conditions);
    // Within another condition it would be another question.
    for (size_t c = 1; c < conditions.size(); ++c) {
      if (contains(conditions[c], question)) return false;
    }
  }
  return false;
}

}  // namespace

std::vector<OutputComparison> find_output_comparisons(const StepStudy& step) {
  std::vector<OutputComparison> changes;
  const std::vector<TensorStatement>& statements = step.program.statements;
  std::vector<std::vector<size_t>> outputs_of(statements.size());
  for (size_t i = 0; i < statements.size(); ++i) {
    if (step.late[i] || !step.written_anyway[i] || statements[i].reduction != Reduction::none ||
        statements[i].value->node_count() > maximum_studied_nodes) {
      continue;
    }
    visit_reads(statements[i], [&](const Expr& read) {
      auto source = step.number.find(read.name);
      if (source == step.number.end()) return;
      std::vector<size_t>& outputs = outputs_of[source->second];
      if (outputs.empty() || outputs.back() != i) outputs.push_back(i);
    });
  }
  for (size_t input = 0; input < statements.size(); ++input) {
    if (step.late[input] || step.written_anyway[input] || step.demands[input].empty()) continue;
    const auto questions = questions_about(step, input);
    if (!questions) continue;
    size_t tried = 0;
    for (const size_t output : outputs_of[input]) {
      if (++tried > maximum_outputs) break;
      if (statements[output].type != statements[input].type) continue;
      const std::optional<std::vector<size_t>> positions =
          element_of(statements[output], statements[input]);
      if (!positions) continue;
      const bool answers =
          std::all_of(questions->begin(), questions->end(), [&](const auto& asked) {
            return std::all_of(asked.second.begin(), asked.second.end(),
                               [&](const ExprRef& question) {
                                 return output_answers(step, asked.first, question,
                                                       statements[output], *positions);
                               });
          });
      if (!answers) continue;
      changes.push_back({input, output});
      break;
    }
  }
  return changes;
}

TensorProgram compare_outputs(const StepStudy& step, const std::vector<OutputComparison>& changes) {
  TensorProgram result = step.program;
  for (const OutputComparison& change : changes) {
    const TensorStatement& input = step.program.statements[change.input];
    const TensorStatement& output = step.program.statements[change.output];
    const std::vector<size_t> positions = *element_of(output, input);
    std::set<size_t> readers;
    for (const CrossRead& demand : step.demands[change.input]) readers.insert(demand.reader);
    for (const size_t reader : readers) {
      rewrite_statement(result.statements[reader], [&](const ExprRef& node) -> ExprRef {
        if (node->op != Op::read || node->name != input.name) return node;
        return make_read(output.name, output.type, output_element(positions, *node));
      });
    }
  }
  return result;
}

}  // namespace fusegrad::ir
