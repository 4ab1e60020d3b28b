// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Grouping by row space. Statements are visited in topological order; each tries to join the groups
// of its producers. A row dimension survives a join if every read between members holds a bare left
// index of the reader in its place: reading along a binder is the only boundary between groups,
// whatever the statements compute.
#include "ir/passes/row_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

int64_t element_count(const std::vector<IndexRange>& indices) {
  int64_t count = 1;
  for (const IndexRange& index : indices) count = saturating_multiply(count, index.end.maximum);
  return count;
}

/// Work on one grouping; groups that were merged into others stay behind empty.
class Grouper {
 public:
  Grouper(const TensorProgram& program, const Dependences& dependences,
          const GroupingLimits& limits)
      : program_(program), dependences_(dependences), limits_(limits) {
    for (size_t i = 0; i < program.statements.size(); ++i) {
      number_[program.statements[i].name] = i;
      std::vector<ExprRef>& reads = reads_.emplace_back();
      TensorStatement copy = program.statements[i];
      rewrite_statement(copy, [&](const ExprRef& node) {
        if (node->op == Op::read) reads.push_back(node);
        return node;
      });
    }
    for (const TensorUpdate& update : program.updates) {
      updated_by_[number_.at(update.value)] = update.target;
    }
    group_of_.assign(program.statements.size(), no_group);
    rank_.resize(program.statements.size());
    for (size_t i = 0; i < dependences_.order.size(); ++i) rank_[dependences_.order[i]] = i;
  }

  Grouping run() {
    for (size_t statement : dependences_.order) place(statement);
    return finish();
  }

 private:
  static constexpr size_t no_group = SIZE_MAX;

  struct Join {
    RowGroup group;
    int64_t bytes_saved = 0;
  };
  struct Attempt {
    std::optional<Join> join;
    std::string reason;  ///< why not
  };

  void place(size_t statement) {
    std::vector<size_t> candidates;
    for (const ExprRef& read : reads_[statement]) {
      auto producer = number_.find(read->name);
      if (producer == number_.end()) continue;
      size_t group = group_of_[producer->second];
      if (std::find(candidates.begin(), candidates.end(), group) == candidates.end()) {
        candidates.push_back(group);
      }
    }
    std::sort(candidates.begin(), candidates.end());
    std::optional<Join> best;
    std::vector<size_t> best_subset;
    // All subsets of the candidates, the largest first; beyond six candidates only the pairs and
    // singles.
    size_t count = candidates.size();
    for (size_t wanted = count; wanted > 0 && !best; --wanted) {
      if (count > 6 && wanted > 2 && wanted < count) continue;
      for_each_subset(candidates, wanted, [&](const std::vector<size_t>& subset) {
        Attempt attempt = try_join(statement, subset);
        if (wanted == 1 && !attempt.join) reasons_[{statement, subset[0]}] = attempt.reason;
        if (attempt.join && (!best || attempt.join->bytes_saved > best->bytes_saved)) {
          best = std::move(attempt.join);
          best_subset = subset;
        }
      });
    }
    // Reasons for the candidates that stayed outside, told against the group as it is now.
    for (size_t candidate : candidates) {
      bool joined =
          std::find(best_subset.begin(), best_subset.end(), candidate) != best_subset.end();
      if (joined || reasons_.contains({statement, candidate})) continue;
      std::vector<size_t> with = best_subset;
      with.push_back(candidate);
      std::sort(with.begin(), with.end());
      reasons_[{statement, candidate}] = try_join(statement, with).reason;
    }
    if (!best) {
      RowGroup group;
      group.members = {statement};
      const std::vector<IndexRange>& left = program_.statements[statement].indices;
      for (size_t d = 0; d < left.size(); ++d)
        group.rows.push_back({left[d].end, {{statement, d}}});
      group_of_[statement] = groups_.size();
      groups_.push_back(std::move(group));
      return;
    }
    size_t target = best_subset[0];
    for (size_t merged : best_subset) groups_[merged] = RowGroup{};
    groups_[target] = std::move(best->group);
    for (size_t member : groups_[target].members) group_of_[member] = target;
    // Reasons were recorded against groups by number: what was merged now answers to the target's
    // number.
  }

  static void for_each_subset(const std::vector<size_t>& items, size_t wanted,
                              const std::function<void(const std::vector<size_t>&)>& visit) {
    std::vector<size_t> chosen;
    std::function<void(size_t)> extend = [&](size_t from) {
      if (chosen.size() == wanted) {
        visit(chosen);
        return;
      }
      // Only where enough items are left: all of many items are one subset, found at once.
      for (size_t i = from; i + wanted - chosen.size() <= items.size(); ++i) {
        chosen.push_back(items[i]);
        extend(i + 1);
        chosen.pop_back();
      }
    };
    extend(0);
  }

  Attempt try_join(size_t statement, const std::vector<size_t>& subset) {
    const TensorStatement& joining = program_.statements[statement];
    Join join;
    bool all_scalar = joining.indices.empty();
    // For every group: which left index of the joining statement stands for which of its rows.
    std::vector<std::map<size_t, size_t>> row_of_left(subset.size());
    for (size_t k = 0; k < subset.size(); ++k) {
      const RowGroup& group = groups_[subset[k]];
      all_scalar = all_scalar && group.rows.empty();
      for (size_t r = 0; r < group.rows.size(); ++r) {
        std::optional<size_t> left = aligned_left_index(statement, subset[k], group.rows[r]);
        if (left) row_of_left[k][*left] = r;
      }
    }
    for (size_t left = 0; left < joining.indices.size(); ++left) {
      RowDimension dimension;
      bool in_all = true;
      for (size_t k = 0; k < subset.size() && in_all; ++k) {
        auto found = row_of_left[k].find(left);
        if (found == row_of_left[k].end()) {
          in_all = false;
          break;
        }
        const RowDimension& row = groups_[subset[k]].rows[found->second];
        dimension.extent = row.extent;
        dimension.position.insert(row.position.begin(), row.position.end());
      }
      if (!in_all) continue;
      dimension.position[statement] = left;
      join.group.rows.push_back(std::move(dimension));
    }
    // Members of different groups read each other too: what is a row for all must be read unchanged
    // by all.
    // Within one group they do already.
    if (subset.size() > 1) {
      std::erase_if(join.group.rows, [&](const RowDimension& row) { return !read_unchanged(row); });
    }
    int64_t rows = 1;
    for (const RowDimension& row : join.group.rows)
      rows = saturating_multiply(rows, row.extent.maximum);
    if (join.group.rows.empty() && !all_scalar) {
      return {std::nullopt,
              "no row dimension is shared: the reader sums or shifts along every one"};
    }
    bool demotes = false;
    for (size_t group : subset) {
      demotes = demotes || groups_[group].rows.size() > join.group.rows.size();
      join.group.members.insert(join.group.members.end(), groups_[group].members.begin(),
                                groups_[group].members.end());
    }
    join.group.members.push_back(statement);
    sort_topologically(join.group.members);
    if (demotes && rows < limits_.minimum_rows) {
      return {std::nullopt, fmt::format("only {} independent rows would remain, fewer than {}",
                                        rows, limits_.minimum_rows)};
    }
    if (std::string reason = too_much_memory(join.group, statement, demotes); !reason.empty()) {
      return {std::nullopt, reason};
    }
    if (std::string reason = update_conflict(join.group); !reason.empty()) {
      return {std::nullopt, reason};
    }
    if (makes_cycle(join.group.members, statement, subset.size())) {
      return {std::nullopt,
              "the kernels would wait for each other (an update runs after every reader of the old "
              "value)"};
    }
    std::set<std::string> counted;
    for (const ExprRef& read : reads_[statement]) {
      auto producer = number_.find(read->name);
      if (producer == number_.end() || !counted.insert(read->name).second) continue;
      const TensorStatement& produced = program_.statements[producer->second];
      if (std::find(subset.begin(), subset.end(), group_of_[producer->second]) != subset.end()) {
        join.bytes_saved +=
            saturating_multiply(byte_size(produced.type), element_count(produced.indices));
      }
    }
    return {std::move(join), ""};
  }

  /// The left index of `statement` that stands in the place of this row in all its reads of the
  /// group; none if the reads differ, shift, or run over another extent.
  std::optional<size_t> aligned_left_index(size_t statement, size_t group,
                                           const RowDimension& row) {
    const TensorStatement& reader = program_.statements[statement];
    std::optional<size_t> aligned;
    for (const ExprRef& read : reads_[statement]) {
      auto producer = number_.find(read->name);
      if (producer == number_.end() || group_of_[producer->second] != group) continue;
      const ExprRef& index = read->operands[row.position.at(producer->second)];
      if (!is_index(index)) return std::nullopt;
      std::optional<size_t> left;
      for (size_t d = 0; d < reader.indices.size(); ++d) {
        if (reader.indices[d].name == index->name && reader.indices[d].end == row.extent) left = d;
      }
      if (!left || (aligned && *aligned != *left)) return std::nullopt;
      aligned = left;
    }
    return aligned;
  }

  /// Does every read between the row's statements hold the reader's own row index in the row's
  /// place?
  bool read_unchanged(const RowDimension& row) const {
    for (const auto& [reader, position] : row.position) {
      const std::string& own = program_.statements[reader].indices[position].name;
      for (const ExprRef& read : reads_[reader]) {
        auto producer = number_.find(read->name);
        if (producer == number_.end()) continue;
        auto place = row.position.find(producer->second);
        if (place == row.position.end()) continue;
        const ExprRef& index = read->operands[place->second];
        if (!is_index(index) || index->name != own) return false;
      }
    }
    return true;
  }

  void sort_topologically(std::vector<size_t>& members) const {
    std::sort(members.begin(), members.end(),
              [&](size_t a, size_t b) { return rank_[a] < rank_[b]; });
  }

  static std::set<std::string> row_names(const RowGroup& group, const TensorStatement& member,
                                         size_t number) {
    std::set<std::string> names;
    for (const RowDimension& row : group.rows) {
      names.insert(member.indices[row.position.at(number)].name);
    }
    return names;
  }

  std::string too_much_memory(const RowGroup& group, size_t joining, bool demotes) {
    int64_t local_bytes = 0;
    for (size_t number : group.members) {
      const TensorStatement& member = program_.statements[number];
      std::set<std::string> rows = row_names(group, member, number);
      int64_t own = byte_size(member.type);
      for (const IndexRange& index : member.indices) {
        if (!rows.contains(index.name)) own = saturating_multiply(own, index.end.maximum);
      }
      local_bytes = saturating_add(local_bytes, own);
    }
    const int64_t limit = demotes ? limits_.local_bytes : limits_.stack_bytes;
    if (local_bytes > limit) {
      return fmt::format("{} bytes of row-local values, more than {}", local_bytes, limit);
    }
    for (size_t number : group.members) {
      if (!demotes && number != joining) continue;
      const TensorStatement& member = program_.statements[number];
      if (member.reduction == Reduction::none) continue;
      std::set<std::string> rows = row_names(group, member, number);
      if (rows.size() == member.indices.size()) continue;
      std::map<std::string, int64_t> extents;
      for (const auto* list : {&member.indices, &member.binders}) {
        for (const IndexRange& index : *list) extents[index.name] = index.end.maximum - index.begin;
      }
      for (const ExprRef& read : reads_[number]) {
        auto producer = number_.find(read->name);
        if (producer != number_.end() && std::find(group.members.begin(), group.members.end(),
                                                   producer->second) != group.members.end()) {
          continue;
        }
        std::set<std::string> used = free_indices(read);
        if (std::any_of(used.begin(), used.end(),
                        [&](const std::string& name) { return rows.contains(name); })) {
          // Part of the operand belongs to the row; what every row re-reads is the rest.
        }
        int64_t bytes = 4;
        for (const std::string& name : used) {
          if (!rows.contains(name)) bytes = saturating_multiply(bytes, extents[name]);
        }
        if (bytes > limits_.operand_bytes) {
          return fmt::format("every row would re-read {} bytes of `{}`, more than {}", bytes,
                             read->name, limits_.operand_bytes);
        }
      }
    }
    return "";
  }

  /// A reader of an updated tensor may share the update's kernel only if it stays within its own
  /// row.
  std::string update_conflict(const RowGroup& group) {
    for (size_t number : group.members) {
      auto update = updated_by_.find(number);
      if (update == updated_by_.end()) continue;
      for (size_t other : group.members) {
        const TensorStatement& reader = program_.statements[other];
        for (const ExprRef& read : reads_[other]) {
          if (read->name != update->second) continue;
          for (const RowDimension& row : group.rows) {
            const ExprRef& index = read->operands[row.position.at(number)];
            if (!is_index(index) || index->name != reader.indices[row.position.at(other)].name) {
              return fmt::format("`{}` reads the old value of `{}` outside its own row",
                                 reader.name, update->second);
            }
          }
        }
      }
    }
    return "";
  }

  /// Would the graph of groups have a cycle if `members`, which are those of `groups` groups and
  /// the joining statement, were one group?
  bool makes_cycle(const std::vector<size_t>& members, size_t joining, size_t groups) {
    std::set<size_t> inside(members.begin(), members.end());
    // Walk backwards from the merged group over groups; meeting a member again closes a cycle.
    std::vector<size_t> work;
    std::set<size_t> seen_groups;
    auto push_before = [&](size_t statement) {
      for (size_t before : dependences_.before[statement]) work.push_back(before);
    };
    for (size_t member : members) {
      // A single group is on no cycle: what is new waits for the joining statement's producers.
      if (groups == 1 && member != joining) continue;
      for (size_t before : dependences_.before[member]) {
        if (!inside.contains(before)) work.push_back(before);
      }
    }
    while (!work.empty()) {
      size_t statement = work.back();
      work.pop_back();
      if (inside.contains(statement)) return true;
      size_t group = group_of_[statement];
      FG_CHECK(group != no_group, "statement `{}` is not placed yet",
               program_.statements[statement].name);
      if (!seen_groups.insert(group).second) continue;
      for (size_t member : groups_[group].members) push_before(member);
    }
    return false;
  }

  Grouping finish() {
    Grouping result;
    std::map<size_t, size_t> renumbered;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].members.empty()) continue;
      renumbered[i] = result.groups.size();
      result.groups.push_back(groups_[i]);
    }
    for (size_t group : group_of_) result.group_of.push_back(renumbered.at(group));
    for (size_t reader : dependences_.order) {
      std::set<std::string> told;
      for (const ExprRef& read : reads_[reader]) {
        auto producer = number_.find(read->name);
        if (producer == number_.end() || !told.insert(read->name).second) continue;
        FusionRemark remark;
        remark.producer = read->name;
        remark.consumer = program_.statements[reader].name;
        remark.origin = program_.statements[reader].origin;
        remark.fused = result.group_of[producer->second] == result.group_of[reader];
        remark.reason = remark.fused ? "the reader uses the producer's rows unchanged"
                                     : reason(reader, group_of_[producer->second]);
        result.remarks.push_back(std::move(remark));
      }
    }
    return result;
  }

  std::string reason(size_t reader, size_t group) const {
    auto found = reasons_.find({reader, group});
    if (found != reasons_.end() && !found->second.empty()) return found->second;
    // The producer's group was merged into another one after the reader had looked at it.
    for (const auto& [key, text] : reasons_) {
      if (key.first == reader && !text.empty()) return text;
    }
    return "another choice of partners saves more bytes";
  }

  const TensorProgram& program_;
  const Dependences& dependences_;
  const GroupingLimits& limits_;
  std::map<std::string, size_t, std::less<>> number_;
  std::vector<std::vector<ExprRef>> reads_;
  std::map<size_t, std::string> updated_by_;
  std::vector<RowGroup> groups_;
  std::vector<size_t> group_of_;
  std::vector<size_t> rank_;  ///< of statements in topological order
  std::map<std::pair<size_t, size_t>, std::string> reasons_;
};

}  // namespace

Dependences dependences(const TensorProgram& program) {
  size_t count = program.statements.size();
  Dependences result;
  result.before.resize(count);
  result.readers.resize(count);
  std::map<std::string, size_t, std::less<>> number;
  for (size_t i = 0; i < count; ++i) number[program.statements[i].name] = i;
  std::map<std::string, size_t, std::less<>> writer_of;
  for (const TensorUpdate& update : program.updates) {
    writer_of[update.target] = number.at(update.value);
  }
  for (size_t i = 0; i < count; ++i) {
    visit_reads(program.statements[i], [&](const Expr& read) {
      if (auto producer = number.find(read.name); producer != number.end()) {
        result.before[i].insert(producer->second);
      }
      if (auto writer = writer_of.find(read.name);
          writer != writer_of.end() && writer->second != i) {
        result.before[writer->second].insert(i);
        result.readers[writer->second].insert(i);
      }
    });
  }
  // Depth first in text order, without recursion: an explicit stack of (statement, entered).
  std::vector<char> state(count, 0);
  for (size_t root = 0; root < count; ++root) {
    std::vector<std::pair<size_t, bool>> work = {{root, false}};
    while (!work.empty()) {
      auto [statement, entered] = work.back();
      work.pop_back();
      if (entered) {
        state[statement] = 2;
        result.order.push_back(statement);
        continue;
      }
      if (state[statement] == 2) continue;
      FG_CHECK(state[statement] == 0, "statements wait for each other at `{}`",
               program.statements[statement].name);
      state[statement] = 1;
      work.emplace_back(statement, true);
      for (auto before = result.before[statement].rbegin();
           before != result.before[statement].rend(); ++before) {
        if (state[*before] != 2) work.emplace_back(*before, false);
      }
    }
  }
  return result;
}

Grouping group_rows(const TensorProgram& program, const Dependences& dependences,
                    const GroupingLimits& limits) {
  return Grouper(program, dependences, limits).run();
}

}  // namespace fusegrad::ir
