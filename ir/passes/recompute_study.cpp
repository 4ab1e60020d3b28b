// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where forward ends, which kernel makes what, and what the step costs as it is.
#include <algorithm>

#include "ir/kernel/memory_check.h"
#include "ir/passes/recompute_steps.h"
#include "ir/passes/simplify_steps.h"

namespace fusegrad::ir {
namespace {

using Numbers = std::map<std::string, size_t, std::less<>>;

/// Marks everything that the statement needs, and itself.
void mark_ancestors(const TensorProgram& program, const Numbers& number, const std::string& tensor,
                    std::vector<bool>& marked) {
  std::vector<std::string> work = {tensor};
  while (!work.empty()) {
    auto found = number.find(work.back());
    work.pop_back();
    if (found == number.end() || marked[found->second]) continue;
    marked[found->second] = true;
    visit_reads(program.statements[found->second],
                [&](const Expr& read) { work.push_back(read.name); });
  }
}

std::vector<bool> late_statements(const TensorProgram& program, const Numbers& number) {
  const size_t count = program.statements.size();
  std::vector<bool> before_loss(count, false);
  std::vector<bool> before_update(count, false);
  for (const TensorResult& result : program.results) {
    if (result.kind == TensorResultKind::loss)
      mark_ancestors(program, number, result.tensor, before_loss);
    if (result.kind == TensorResultKind::gradient)
      mark_ancestors(program, number, result.tensor, before_update);
  }
  std::set<std::string> parameters;
  for (const TensorDeclaration& declaration : program.declarations) {
    if (declaration.kind == TensorKind::parameter) parameters.insert(declaration.name);
  }
  for (const TensorUpdate& update : program.updates) {
    // The state of a layer may be updated by forward; what a parameter becomes has seen its
    // gradient.
    if (parameters.contains(update.target))
      mark_ancestors(program, number, update.value, before_update);
  }
  std::vector<bool> late(count, false);
  for (size_t i = 0; i < count; ++i) {
    late[i] = before_update[i] && !before_loss[i];
    visit_reads(program.statements[i], [&](const Expr& read) {
      auto source = number.find(read.name);
      if (source != number.end() && late[source->second]) late[i] = true;
    });
  }
  return late;
}

Numbers numbers_of(const TensorProgram& program) {
  Numbers number;
  for (size_t i = 0; i < program.statements.size(); ++i) number[program.statements[i].name] = i;
  return number;
}

/// A statement of K under its name in T: a stored value that its kernel reads is a local first.
std::string name_in_tensor_program(const std::string& name) {
  constexpr std::string_view suffix = ".row";
  if (!name.ends_with(suffix)) return name;
  return name.substr(0, name.size() - suffix.size());
}

using Buffers = std::map<std::string, const Buffer*, std::less<>>;

/// Names of all that the kernel reads: buffers and locals.
std::set<std::string> names_read(const Kernel& kernel) {
  std::set<std::string> read;
  auto visit = [&](const Expr& node) {
    if (node.op == Op::read) read.insert(node.name);
  };
  for (const KernelStatement& statement : kernel.statements) {
    if (statement.condition != nullptr) walk(statement.condition, visit);
    walk(statement.value, visit);
  }
  return read;
}

/// How the kernel's sums will run. A kernel is scheduled by itself: its lanes depend on the buffers
/// that it touches and on nothing else.
void add_sum_orders(const KernelProgram& program, const Kernel& kernel, const Buffers& buffers,
                    const std::set<std::string>& read, StepCost& cost) {
  if (std::none_of(
          kernel.statements.begin(), kernel.statements.end(),
          [](const KernelStatement& statement) { return statement.reduction == Reduction::sum; })) {
    return;
  }
  KernelProgram alone;
  alone.name = program.name;
  alone.batch = program.batch;
  alone.real = program.real;
  std::set<std::string> touched = read;
  for (const KernelStatement& statement : kernel.statements) touched.insert(statement.name);
  for (const std::string& name : touched) {
    if (auto found = buffers.find(name); found != buffers.end())
      alone.buffers.push_back(*found->second);
  }
  alone.launches.emplace_back().kernels.push_back(kernel);
  const KernelProgram scheduled = schedule(KernelModule{{std::move(alone)}}).programs.front();
  const Kernel& decided = scheduled.launches.front().kernels.front();
  for (const KernelStatement& statement : decided.statements) {
    if (statement.reduction != Reduction::sum) continue;
    auto& order = cost.sum_orders[name_in_tensor_program(statement.name)];
    for (size_t b = 0; b < statement.binders.size(); ++b) {
      const std::optional<int64_t> lanes =
          decided.attribute(ScheduleAttribute::Kind::lanes, statement.binders[b].name);
      if (lanes) order.emplace_back(b, *lanes);
    }
  }
}

StepCost cost_of(const KernelProgram& program) {
  StepCost cost;
  cost.launches = program.launches.size();
  cost.peak_bytes = memory_peak(program).bytes;
  Buffers buffers;
  for (const Buffer& buffer : program.buffers) buffers[buffer.name] = &buffer;
  auto add_traffic = [&](const std::string& name) {
    auto found = buffers.find(name);
    if (found == buffers.end()) return;  // a local
    const int64_t bytes = saturating_multiply(
        byte_size(found->second->type), element_count(found->second->shape).value_or(INT64_MAX));
    cost.traffic_bytes = saturating_add(cost.traffic_bytes, bytes);
  };
  for (const Launch& launch : program.launches) {
    for (const Kernel& kernel : launch.kernels) {
      const std::set<std::string> read = names_read(kernel);
      for (const std::string& name : read) add_traffic(name);
      for (const KernelStatement& statement : kernel.statements) {
        if (statement.storage != Storage::local) add_traffic(statement.name);
      }
      add_sum_orders(program, kernel, buffers, read, cost);
    }
  }
  return cost;
}

}  // namespace

int64_t evaluation_points(const TensorStatement& statement) {
  return saturating_multiply(points_of(statement.indices), points_of(statement.binders));
}

bool has_backward(const TensorProgram& program) {
  const std::vector<bool> late = late_statements(program, numbers_of(program));
  return std::any_of(program.results.begin(), program.results.end(),
                     [](const TensorResult& r) { return r.kind == TensorResultKind::loss; }) &&
         std::find(late.begin(), late.end(), true) != late.end();
}

StepStudy study_step(const TensorProgram& program) {
  StepStudy step;
  step.program = program;
  step.grouped = group_in_steps(program);
  step.number = numbers_of(program);
  step.late = late_statements(program, step.number);
  step.cost = cost_of(step.grouped.kernels);
  const size_t count = program.statements.size();
  step.demands.resize(count);
  step.read_within.assign(count, false);
  step.written_anyway.assign(count, false);
  for (const std::string& root : root_names(program)) {
    if (auto found = step.number.find(root); found != step.number.end())
      step.written_anyway[found->second] = true;
  }
  // Copies that grouping added at the end of the program belong to results: forward.
  const std::vector<TensorStatement>& statements = step.grouped.separated.statements;
  for (size_t reader = 0; reader < statements.size(); ++reader) {
    const bool is_late = reader < count && step.late[reader];
    visit_reads(statements[reader], [&](const Expr& read) {
      auto found = step.number.find(read.name);
      if (found == step.number.end() || step.late[found->second]) return;
      const bool within = step.same_kernel(found->second, reader);
      if (is_late && within) step.read_within[found->second] = true;
      if (!is_late && !within) step.written_anyway[found->second] = true;
      if (is_late && !within) {
        step.demands[found->second].push_back({reader, make_node(read)});
      }
    });
  }
  return step;
}

}  // namespace fusegrad::ir
