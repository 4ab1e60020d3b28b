// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T to K: row groups become kernels, independent kernels share launches (moves 2 and 3 of fusion).
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "ir/passes/passes.h"
#include "ir/passes/row_groups.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"
#include "ir/tensor/tensor_index.h"

namespace fusegrad::ir {
namespace {

bool is_identity_read(const TensorStatement& statement, const Expr& read) {
  if (read.has_else || read.operands.size() != statement.indices.size()) return false;
  for (size_t d = 0; d < read.operands.size(); ++d) {
    if (!is_index(read.operands[d]) || read.operands[d]->name != statement.indices[d].name)
      return false;
  }
  return true;
}

/// A statement that copies `source` under a new name.
TensorStatement copy_statement(const TensorProgram& program, const TensorIndex& tensors,
                               const std::string& source, const std::string& name) {
  TensorStatement copy;
  copy.name = name;
  std::vector<ExprRef> indices;
  Shape shape;
  if (const TensorDeclaration* declaration = tensors.declaration(program, source)) {
    copy.type = declaration->type;
    shape = declaration->shape;
  }
  if (const TensorStatement* statement = tensors.statement(program, source)) {
    copy.origin = statement->origin;
    if (tensors.declaration(program, source) == nullptr) {
      copy.type = statement->type;
      shape = statement->shape();
    }
  }
  for (size_t d = 0; d < shape.size(); ++d) {
    std::string index = fmt::format("i{}", d);
    copy.indices.push_back({index, 0, shape[d]});
    indices.push_back(make_index(index));
  }
  copy.value = make_read(source, copy.type, indices);
  return copy;
}

bool can_be_cyclic(const TensorProgram& program, const TensorIndex& tensors) {
  // Updates whose values read each other's targets would have to run before each other.
  std::set<std::string> targets;
  for (const TensorUpdate& update : program.updates) targets.insert(update.target);
  for (const TensorUpdate& update : program.updates) {
    const TensorStatement* value = tensors.statement(program, update.value);
    if (value == nullptr) continue;
    bool reads_other = false;
    visit_reads(*value, [&](const Expr& read) {
      reads_other = reads_other || (read.name != update.target && targets.contains(read.name));
    });
    if (reads_other) return true;
  }
  return false;
}

/// Afterwards every update's value is a statement of its own that nobody else uses and that reads
/// the target, if at all, at its own element; and every result is a statement. Copies are added
/// where that was not so.
TensorProgram separate_roots(TensorProgram program) {
  std::map<std::string, int> uses;
  for (const TensorStatement& statement : program.statements) {
    visit_reads(statement, [&](const Expr& read) { ++uses[read.name]; });
  }
  for (const TensorUpdate& update : program.updates) ++uses[update.value];
  for (const TensorResult& result : program.results) ++uses[result.tensor];
  TensorIndex tensors(program);
  bool copy_all = can_be_cyclic(program, tensors);
  for (TensorUpdate& update : program.updates) {
    const TensorStatement* value = tensors.statement(program, update.value);
    bool own_element = value != nullptr;
    if (value != nullptr) {
      visit_reads(*value, [&](const Expr& read) {
        if (read.name != update.target) return;
        own_element =
            own_element && value->reduction == Reduction::none && is_identity_read(*value, read);
      });
    }
    // A momentum's value read by the parameter's update is the common case of copy_all: v1 is a
    // row-local then.
    bool reads_self_only = own_element && uses[update.value] == 1;
    if (reads_self_only && !copy_all) continue;
    TensorStatement copy =
        copy_statement(program, tensors, update.value, tensors.fresh_name(update.target + "'"));
    update.value = copy.name;
    program.statements.push_back(std::move(copy));
    tensors.added(program.statements.back());
  }
  std::set<std::string> taken;
  for (TensorResult& result : program.results) {
    bool shared = !taken.insert(result.tensor).second;
    if (tensors.statement(program, result.tensor) != nullptr && !shared) continue;
    TensorStatement copy =
        copy_statement(program, tensors, result.tensor, tensors.fresh_name(result.label));
    result.tensor = copy.name;
    taken.insert(copy.name);
    program.statements.push_back(std::move(copy));
    tensors.added(program.statements.back());
  }
  return program;
}

std::string sanitised(std::string_view name) {
  std::string text;
  for (char c : name) {
    if (c == '\'') continue;
    text += (c == '.') ? '_' : c;
  }
  return text;
}

/// Writes the kernels of a grouping down.
class KernelWriter {
 public:
  KernelWriter(const TensorProgram& program, const Grouping& grouping)
      : program_(program), grouping_(grouping) {
    for (size_t i = 0; i < program.statements.size(); ++i) number_[program.statements[i].name] = i;
    for (const TensorUpdate& update : program.updates) target_of_[update.value] = update.target;
    for (const TensorResult& result : program.results) stored_.insert(result.tensor);
    for (size_t i = 0; i < program.statements.size(); ++i) {
      visit_reads(program.statements[i], [&](const Expr& read) {
        auto producer = number_.find(read.name);
        if (producer == number_.end()) return;
        bool inside = grouping.group_of[producer->second] == grouping.group_of[i];
        (inside ? read_inside_ : stored_).insert(read.name);
      });
    }
  }

  bool is_stored(const std::string& name) const { return stored_.contains(name); }

  Kernel write(const RowGroup& group, size_t ordinal) {
    Kernel kernel;
    used_names_.clear();
    last_suffix_.clear();
    const TensorStatement& first = program_.statements[group.members[0]];
    for (const RowDimension& row : group.rows) {
      IndexRange range;
      range.name = unique(first.indices[row.position.at(group.members[0])].name);
      range.end = row.extent;
      kernel.rows.push_back(range);
    }
    std::string name;
    for (size_t member : group.members) write_member(kernel, group, member, name);
    kernel.name = fmt::format("k{}_{}", ordinal, name.substr(0, 60));
    return kernel;
  }

 private:
  std::string unique(const std::string& name) {
    if (used_names_.insert(name).second) return name;
    // Smaller suffixes were taken when this name was last asked for, and are still.
    int& suffix = last_suffix_.try_emplace(name, 1).first->second;
    std::string candidate;
    do {
      candidate = fmt::format("{}{}", name, ++suffix);
    } while (!used_names_.insert(candidate).second);
    return candidate;
  }

  static bool is_row_position(const RowGroup& group, size_t member, size_t position, size_t* row) {
    for (size_t r = 0; r < group.rows.size(); ++r) {
      auto found = group.rows[r].position.find(member);
      if (found != group.rows[r].position.end() && found->second == position) {
        *row = r;
        return true;
      }
    }
    return false;
  }

  std::string local_name(const std::string& tensor) const {
    return is_stored(tensor) || target_of_.contains(tensor) ? tensor + ".row" : tensor;
  }

  /// Reads of the group's own values lose the row positions and become reads of locals.
  ExprRef with_locals(const RowGroup& group, const ExprRef& e) {
    return rewrite(e, [&](const ExprRef& node) -> ExprRef {
      if (node->op != Op::read) return node;
      auto producer = number_.find(node->name);
      if (producer == number_.end()) return node;
      if (&grouping_.groups[grouping_.group_of[producer->second]] != &group) return node;
      Expr copy = *node;
      copy.name = local_name(node->name);
      copy.operands.clear();
      for (size_t d = 0; d < node->index_count(); ++d) {
        size_t row = 0;
        if (!is_row_position(group, producer->second, d, &row))
          copy.operands.push_back(node->operands[d]);
      }
      if (node->has_else) {
        if (copy.operands.empty()) return with_else_dropped(node, copy);
        copy.operands.push_back(node->else_value());
      }
      return make_node(std::move(copy));
    });
  }

  /// Row positions are always inside, so without other positions the else value can never be taken.
  static ExprRef with_else_dropped(const ExprRef&, Expr copy) {
    copy.has_else = false;
    return make_node(std::move(copy));
  }

  void write_member(Kernel& kernel, const RowGroup& group, size_t member, std::string& name) {
    const TensorStatement& source = program_.statements[member];
    std::map<std::string, ExprRef> renamed;
    std::vector<KernelIndex> all;
    std::vector<KernelIndex> own;
    for (size_t d = 0; d < source.indices.size(); ++d) {
      KernelIndex index;
      size_t row = 0;
      if (is_row_position(group, member, d, &row)) {
        index.is_row = true;
        index.range.name = kernel.rows[row].name;
      } else {
        index.range = source.indices[d];
        index.range.name = unique(source.indices[d].name);
        own.push_back(index);
      }
      if (index.range.name != source.indices[d].name) {
        renamed[source.indices[d].name] = make_index(index.range.name);
      }
      all.push_back(index);
    }
    KernelStatement statement;
    statement.type = source.type;
    statement.reduction = source.reduction;
    statement.origin = source.origin;
    for (const IndexRange& binder : source.binders) {
      IndexRange copy = binder;
      copy.name = unique(binder.name);
      if (copy.name != binder.name) renamed[binder.name] = make_index(copy.name);
      statement.binders.push_back(copy);
    }
    if (source.condition != nullptr) {
      statement.condition = with_locals(group, substitute(source.condition, renamed));
    }
    statement.value = with_locals(group, substitute(source.value, renamed));

    auto target = target_of_.find(source.name);
    bool stored = is_stored(source.name) || target != target_of_.end();
    if (stored)
      name += (name.empty() ? "" : "__") +
              sanitised(target != target_of_.end() ? target->second : source.name);
    if (!stored || read_inside_.contains(source.name)) {
      KernelStatement local = statement;
      local.storage = Storage::local;
      local.name = local_name(source.name);
      local.indices = own;
      kernel.statements.push_back(local);
      if (!stored) return;
      // The stored element is the local one; its own indices get names of their own.
      std::vector<ExprRef> own_indices;
      for (KernelIndex& index : all) {
        if (index.is_row) continue;
        index.range.name = unique(index.range.name);
        own_indices.push_back(make_index(index.range.name));
      }
      statement.reduction = Reduction::none;
      statement.binders.clear();
      statement.condition = nullptr;
      statement.value = make_read(local.name, source.type, own_indices);
    }
    statement.storage = target != target_of_.end() ? Storage::inplace : Storage::out;
    statement.name = target != target_of_.end() ? target->second : source.name;
    statement.indices = all;
    kernel.statements.push_back(std::move(statement));
  }

  const TensorProgram& program_;
  const Grouping& grouping_;
  std::map<std::string, size_t, std::less<>> number_;
  std::map<std::string, std::string> target_of_;
  std::set<std::string> stored_;
  std::set<std::string> read_inside_;
  std::unordered_set<std::string> used_names_;
  std::unordered_map<std::string, int> last_suffix_;
};

/// Level of each group: 1 + the highest level of a group it waits for. Groups of one level are
/// independent.
std::vector<size_t> launch_levels(const Grouping& grouping, const Dependences& dependences) {
  size_t count = grouping.groups.size();
  std::vector<size_t> level(count, 0);
  std::vector<std::set<size_t>> waits_for(count);
  for (size_t group = 0; group < count; ++group) {
    for (size_t member : grouping.groups[group].members) {
      for (size_t before : dependences.before[member]) {
        if (grouping.group_of[before] != group) waits_for[group].insert(grouping.group_of[before]);
      }
    }
  }
  // Groups whose predecessors all have their level are ready.
  std::vector<std::vector<size_t>> awaited_by(count);
  std::vector<size_t> missing(count, 0);
  std::vector<size_t> ready;
  for (size_t group = 0; group < count; ++group) {
    missing[group] = waits_for[group].size();
    if (missing[group] == 0) ready.push_back(group);
    for (size_t other : waits_for[group]) awaited_by[other].push_back(group);
  }
  for (size_t next = 0; next < ready.size(); ++next) {
    for (size_t group : awaited_by[ready[next]]) {
      level[group] = std::max(level[group], level[ready[next]] + 1);
      if (--missing[group] == 0) ready.push_back(group);
    }
  }
  FG_CHECK(ready.size() == count, "the groups wait for each other");
  // A group that nobody waits for and that is alone on its level moves to the next one and saves a
  // launch.
  size_t top = count == 0 ? 0 : *std::max_element(level.begin(), level.end());
  std::vector<bool> is_awaited(count, false);
  for (const std::set<size_t>& groups : waits_for) {
    for (size_t group : groups) is_awaited[group] = true;
  }
  std::vector<size_t> on_level(top + 1, 0);
  for (size_t group = 0; group < count; ++group) ++on_level[level[group]];
  for (size_t group = 0; group < count; ++group) {
    if (is_awaited[group] || on_level[level[group]] != 1 || level[group] == top) continue;
    --on_level[level[group]];
    ++on_level[++level[group]];
  }
  return level;
}

}  // namespace

GroupedProgram group_in_steps(const TensorProgram& input) {
  GroupedProgram grouped;
  grouped.separated = separate_roots(input);
  const TensorProgram& program = grouped.separated;
  Dependences order = dependences(program);
  grouped.grouping = group_rows(program, order, GroupingLimits{});
  const Grouping& grouping = grouped.grouping;

  KernelProgram& result = grouped.kernels;
  result.name = program.name;
  result.batch = program.batch;
  result.real = program.real;
  result.remarks = grouping.remarks;
  for (const TensorDeclaration& declaration : program.declarations) {
    Buffer buffer;
    buffer.kind = declaration.kind == TensorKind::input       ? BufferKind::input
                  : declaration.kind == TensorKind::parameter ? BufferKind::parameter
                                                              : BufferKind::state;
    buffer.name = declaration.name;
    buffer.type = declaration.type;
    buffer.shape = declaration.shape;
    buffer.range = declaration.range;
    result.buffers.push_back(std::move(buffer));
  }
  std::set<std::string> result_tensors;
  for (const TensorResult& r : program.results) {
    result.results.push_back({r.kind, r.label, r.tensor});
    result_tensors.insert(r.tensor);
  }
  KernelWriter writer(program, grouping);
  std::vector<size_t> level = launch_levels(grouping, order);
  size_t launches = level.empty() ? 0 : *std::max_element(level.begin(), level.end()) + 1;
  std::vector<std::vector<size_t>> groups_of(launches);
  for (size_t g = 0; g < grouping.groups.size(); ++g) groups_of[level[g]].push_back(g);
  size_t ordinal = 0;
  for (const std::vector<size_t>& groups : groups_of) {
    Launch launch;
    for (size_t g : groups) {
      launch.kernels.push_back(writer.write(grouping.groups[g], ordinal++));
    }
    if (!launch.kernels.empty()) result.launches.push_back(std::move(launch));
  }
  for (size_t statement : order.order) {
    const TensorStatement& source = program.statements[statement];
    if (!writer.is_stored(source.name)) continue;
    Buffer buffer;
    buffer.kind = result_tensors.contains(source.name) ? BufferKind::result : BufferKind::temporary;
    buffer.name = source.name;
    buffer.type = source.type;
    buffer.shape = source.shape();
    result.buffers.push_back(std::move(buffer));
  }
  return grouped;
}

KernelProgram group(const TensorProgram& program) { return group_in_steps(program).kernels; }

}  // namespace fusegrad::ir
