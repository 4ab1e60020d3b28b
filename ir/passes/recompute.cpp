// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which tensors of forward are stored for backward. The two changes are found on the graph, and
// made as far as the grouped and scheduled step shows that it became cheaper: within one kernel
// everything is free, and where kernels end is known only then.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "ir/passes/recompute_steps.h"
#include "ir/passes/simplify_steps.h"
#include "ir/tensor/verify.h"

namespace fusegrad::ir {
namespace {

/// Steps that are grouped to try a choice; each costs as much as the pass `group`.
constexpr int maximum_trials = 12;

/// Cheaper somewhere, dearer nowhere, and every sum in its order.
bool is_better(const StepCost& changed, const StepCost& original) {
  const bool no_worse = changed.traffic_bytes <= original.traffic_bytes &&
                        changed.peak_bytes <= original.peak_bytes &&
                        changed.launches <= original.launches;
  const bool cheaper =
      changed.traffic_bytes < original.traffic_bytes || changed.peak_bytes < original.peak_bytes;
  return no_worse && cheaper && changed.sum_orders == original.sum_orders;
}

/// Makes the choices of a list that help. `change` gives the step with the choices of these numbers
/// made, beside those already taken. All are tried at once; if that does not help, each half.
class Trials {
 public:
  Trials(StepStudy start, std::function<TensorProgram(const std::vector<size_t>&)> change,
         int& left)
      : best_(std::move(start)), change_(std::move(change)), left_(left) {}

  void consider(const std::vector<size_t>& list) {
    if (list.empty() || left_ == 0) return;
    --left_;
    std::vector<size_t> with = taken_;
    with.insert(with.end(), list.begin(), list.end());
    std::sort(with.begin(), with.end());
    TensorProgram program = change_(with);
    // An index that is in range by conditions of the reader may be so in more steps than the proof
    // makes.
    if (verify(program).empty()) {
      StepStudy step = study_step(program);
      if (is_better(step.cost, best_.cost)) {
        best_ = std::move(step);
        taken_ = std::move(with);
        return;
      }
    }
    if (list.size() == 1) return;
    const auto middle = list.begin() + static_cast<std::ptrdiff_t>(list.size() / 2);
    consider({list.begin(), middle});
    consider({middle, list.end()});
  }

  const std::vector<size_t>& taken() const { return taken_; }
  StepStudy best() && { return std::move(best_); }

 private:
  StepStudy best_;
  std::function<TensorProgram(const std::vector<size_t>&)> change_;
  int& left_;
  std::vector<size_t> taken_;
};

std::vector<size_t> all_of(size_t count) {
  std::vector<size_t> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = i;
  return numbers;
}

SaveRemark remark(const TensorStatement& statement, bool stored, std::string reason) {
  return {statement.name, stored, std::move(reason), statement.origin};
}

StepStudy compare_outputs_where_better(const StepStudy& step, int& trials,
                                       std::vector<SaveRemark>& remarks) {
  const std::vector<OutputComparison> changes = find_output_comparisons(step);
  if (changes.empty()) return step;
  auto chosen = [&](const std::vector<size_t>& numbers) {
    std::vector<OutputComparison> some;
    for (const size_t number : numbers) some.push_back(changes[number]);
    return some;
  };
  Trials search(
      step,
      [&](const std::vector<size_t>& numbers) { return compare_outputs(step, chosen(numbers)); },
      trials);
  search.consider(all_of(changes.size()));
  for (const OutputComparison& change : chosen(search.taken())) {
    const TensorStatement& input = step.program.statements[change.input];
    remarks.push_back(
        remark(input, false,
               fmt::format("backward only compares it, and `{}` gives the same answers",
                           step.program.statements[change.output].name)));
  }
  return std::move(search).best();
}

std::string stored_because(const StepStudy& step, size_t tensor, const SaveChoice& choice) {
  const int64_t bytes = tensor_bytes(step.program.statements[tensor]);
  const std::string cost =
      step.written_anyway[tensor]
          ? fmt::format("{} bytes read back, which forward writes anyway", bytes)
          : fmt::format("{} bytes written and read back", bytes);
  switch (choice.reason) {
    case SaveReason::reduction:
      return cost + "; a reduction is not repeated";
    case SaveReason::reader:
      return choice.reader.empty() ? cost + "; it is read where it may be out of range"
                                   : fmt::format("{}; `{}` reads it in a long sum or out of range",
                                                 cost, choice.reader);
    case SaveReason::large:
      return cost + "; its expression is too large to repeat";
    case SaveReason::no_gain:
      return cost + "; the whole step would not become cheaper without it";
    default:
      return fmt::format("{}; computing it again would take {} instructions or keep as many bytes",
                         cost, choice.instructions);
  }
}

void describe(const StepStudy& step, const SavePlan& plan, std::vector<SaveRemark>& remarks) {
  std::set<std::string> told;
  for (const SaveRemark& remark : remarks) told.insert(remark.tensor);
  for (size_t i = 0; i < step.program.statements.size(); ++i) {
    const TensorStatement& statement = step.program.statements[i];
    if (told.contains(statement.name)) continue;
    auto choice = plan.choices.find(i);
    if (choice == plan.choices.end()) {
      if (step.read_within[i])
        remarks.push_back(
            remark(statement, false, "backward reads it in the kernel that makes it"));
      continue;
    }
    if (choice->second.reason != SaveReason::recomputed) {
      remarks.push_back(remark(statement, true, stored_because(step, i, choice->second)));
      continue;
    }
    std::set<std::string> operands;
    visit_reads(statement, [&](const Expr& read) { operands.insert(read.name); });
    remarks.push_back(
        remark(statement, false,
               fmt::format("recomputed{}{}: {} instructions, not {} bytes {}",
                           operands.empty() ? "" : " from ", fmt::join(operands, ", "),
                           choice->second.instructions, tensor_bytes(statement),
                           step.written_anyway[i] ? "read back" : "written and read back")));
  }
}

/// Recomputes what the cut says, as far as it helps.
TensorProgram cut_where_better(const StepStudy& step, int& trials,
                               std::vector<SaveRemark>& remarks) {
  const SavePlan first = plan_saves(step, {});
  std::vector<size_t> wanted;
  for (const auto& [tensor, choice] : first.choices) {
    if (choice.reason == SaveReason::recomputed) wanted.push_back(tensor);
  }
  auto plan_with = [&](const std::vector<size_t>& allowed) {
    std::set<std::string> stored;
    for (const size_t tensor : wanted) {
      if (std::find(allowed.begin(), allowed.end(), tensor) == allowed.end())
        stored.insert(step.program.statements[tensor].name);
    }
    return plan_saves(step, stored);
  };
  Trials search(
      step,
      [&](const std::vector<size_t>& allowed) { return apply_saves(step, plan_with(allowed)); },
      trials);
  search.consider(wanted);
  describe(step, plan_with(search.taken()), remarks);
  return std::move(search).best().program;
}

}  // namespace

RecomputeResult recompute(const TensorProgram& program) {
  RecomputeResult result;
  if (!has_backward(program)) {
    result.program = program;
    return result;
  }
  int trials = maximum_trials;
  const StepStudy step = compare_outputs_where_better(study_step(program), trials, result.remarks);
  result.program = cut_where_better(step, trials, result.remarks);
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < program.statements.size(); ++i) place[program.statements[i].name] = i;
  std::stable_sort(result.remarks.begin(), result.remarks.end(),
                   [&](const SaveRemark& a, const SaveRemark& b) {
                     return place.at(a.tensor) < place.at(b.tensor);
                   });
  return result;
}

}  // namespace fusegrad::ir
