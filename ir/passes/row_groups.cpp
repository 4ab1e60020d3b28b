// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Grouping by row space. Statements are visited in topological order; each tries to join the groups
// of its producers. A row dimension survives a join if every read between members holds a bare left
// index of the reader in its place: reading along a binder is the only boundary between groups,
// whatever the statements compute.
#include "ir/passes/row_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "ir/passes/join_check.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// The choice of partners, statement by statement.
class Grouper {
 public:
  Grouper(const TensorProgram& program, const Dependences& dependences,
          const GroupingLimits& limits)
      : table_(program, dependences), check_(table_, limits) {}

  Grouping run() {
    for (size_t statement : table_.dependences().order) place(statement);
    return finish();
  }

 private:
  static constexpr size_t none = GroupTable::none;

  /// Numbers of candidates, in order.
  using Subset = std::vector<size_t>;

  // ---- One statement finds its group.

  void place(size_t statement) {
    const std::vector<JoinCandidate> candidates = find_candidates(statement);
    Subset best;
    JoinAttempt join;
    // All subsets of the candidates, the largest first; beyond six candidates only the pairs and
    // singles.
    const size_t count = candidates.size();
    for (size_t wanted = count; wanted > 0 && best.empty(); --wanted) {
      if (count > 6 && wanted > 2 && wanted < count) continue;
      if (wanted == 1) {
        for (size_t c = 0; c < count; ++c) {
          JoinAttempt attempt = check_.attempt(statement, candidates, {c}, true);
          if (!attempt.possible) {
            reasons_[{statement, label(candidates[c])}] = attempt.reason;
          } else if (best.empty() || candidates[c].bytes > candidates[best[0]].bytes) {
            best = {c};
            join = std::move(attempt);
          }
        }
        break;
      }
      // The first one that is possible, of those that save most.
      for (const Subset& subset : subsets_by_bytes(statement, candidates, wanted)) {
        JoinAttempt attempt = check_.attempt(statement, candidates, subset, false);
        if (!attempt.possible) continue;
        best = subset;
        join = std::move(attempt);
        break;
      }
    }
    // Reasons for the candidates that stayed outside, told against the group as it is now.
    for (size_t c = 0; c < count; ++c) {
      if (std::find(best.begin(), best.end(), c) != best.end() ||
          reasons_.contains({statement, label(candidates[c])})) {
        continue;
      }
      Subset with = best;
      with.insert(std::upper_bound(with.begin(), with.end(), c), c);
      reasons_[{statement, label(candidates[c])}] =
          check_.attempt(statement, candidates, with, true).reason;
    }
    std::vector<size_t> parts;
    for (const size_t c : best) parts.push_back(candidates[c].group);
    const int64_t instructions = check_.instructions_with(statement, parts);
    if (parts.empty()) {
      table_.found(statement, instructions);
    } else {
      table_.merge(statement, parts, join.rows, check_.local_bytes(statement, parts, join.rows),
                   instructions);
    }
  }

  size_t label(const JoinCandidate& candidate) const { return table_.group(candidate.group).label; }

  std::vector<JoinCandidate> find_candidates(size_t statement) {
    std::vector<JoinCandidate> candidates;
    std::unordered_map<size_t, size_t> known;
    std::unordered_set<size_t> counted;
    for (const GroupTable::Read& read : table_.reads(statement)) {
      if (read.producer == none) continue;
      const size_t group = table_.group_of(read.producer);
      FG_CHECK(group != none, "statement `{}` is not placed yet",
               table_.statement(read.producer).name);
      const auto [entry, is_new] = known.emplace(group, candidates.size());
      if (is_new) candidates.push_back({group, {}, false, 0});
      if (!counted.insert(read.producer).second) continue;
      int64_t& bytes = candidates[entry->second].bytes;
      bytes = saturating_add(bytes, tensor_bytes(table_.statement(read.producer)));
    }
    std::sort(candidates.begin(), candidates.end(),
              [&](const JoinCandidate& a, const JoinCandidate& b) { return label(a) < label(b); });
    for (JoinCandidate& candidate : candidates) align(statement, candidate);
    return candidates;
  }

  /// Which left index of the statement stands for which row of the group.
  void align(size_t statement, JoinCandidate& candidate) {
    const std::vector<GroupTable::Row>& rows = table_.group(candidate.group).rows;
    candidate.row_of_left.assign(table_.statement(statement).indices.size(), none);
    for (size_t r = 0; r < rows.size(); ++r) {
      const std::optional<size_t> left = aligned_left_index(statement, candidate.group, rows[r]);
      if (!left) continue;
      candidate.row_of_left[*left] = r;
      candidate.shares_rows = true;
    }
  }

  /// The left index of `statement` that stands in the place of this row in all its reads of the
  /// group; none if the reads differ, shift, or run over another extent.
  std::optional<size_t> aligned_left_index(size_t statement, size_t group,
                                           const GroupTable::Row& row) {
    const TensorStatement& reader = table_.statement(statement);
    std::optional<size_t> aligned;
    for (const GroupTable::Read& read : table_.reads(statement)) {
      ++steps_;
      if (read.producer == none || table_.group_of(read.producer) != group) continue;
      const ExprRef& index = read.node->operands[table_.place_of(read.producer, row.number)];
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

  /// Subsets of that size which may share rows, those first that save most, else in order.
  std::vector<Subset> subsets_by_bytes(size_t statement,
                                       const std::vector<JoinCandidate>& candidates,
                                       size_t wanted) {
    // A row that all share is one that each shares; statements of rank 0 share having none.
    const bool is_scalar = table_.statement(statement).indices.empty();
    std::vector<size_t> able;
    for (size_t c = 0; c < candidates.size(); ++c) {
      const bool both_scalar = is_scalar && table_.group(candidates[c].group).rows.empty();
      if (candidates[c].shares_rows || both_scalar) able.push_back(c);
    }
    std::vector<std::pair<int64_t, Subset>> found;
    for_each_subset(able, wanted, [&](const Subset& subset) {
      int64_t bytes = 0;
      for (const size_t c : subset) bytes = saturating_add(bytes, candidates[c].bytes);
      found.emplace_back(bytes, subset);
      ++steps_;
    });
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<Subset> subsets;
    for (auto& [bytes, subset] : found) subsets.push_back(std::move(subset));
    return subsets;
  }

  static void for_each_subset(const std::vector<size_t>& items, size_t wanted,
                              const std::function<void(const Subset&)>& visit) {
    Subset chosen;
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

  // ---- The result.

  Grouping finish() {
    Grouping result;
    std::vector<size_t> by_label;
    for (size_t i = 0; i < table_.group_count(); ++i) {
      if (!table_.group(i).members.empty()) by_label.push_back(i);
    }
    std::sort(by_label.begin(), by_label.end(),
              [&](size_t a, size_t b) { return table_.group(a).label < table_.group(b).label; });
    std::vector<size_t> renumbered(table_.group_count(), none);
    for (const size_t i : by_label) {
      renumbered[i] = result.groups.size();
      RowGroup group;
      group.members = table_.group(i).members;
      std::sort(group.members.begin(), group.members.end(),
                [&](size_t a, size_t b) { return table_.rank(a) < table_.rank(b); });
      for (const GroupTable::Row& row : table_.group(i).rows) {
        RowDimension dimension;
        dimension.extent = row.extent;
        for (const size_t member : group.members) {
          dimension.position[member] = table_.place_of(member, row.number);
        }
        group.rows.push_back(std::move(dimension));
      }
      result.groups.push_back(std::move(group));
    }
    for (size_t i = 0; i < table_.statement_count(); ++i) {
      result.group_of.push_back(renumbered.at(table_.group_of(i)));
    }
    for (const size_t reader : table_.dependences().order) {
      std::set<size_t> told;
      for (const GroupTable::Read& read : table_.reads(reader)) {
        if (read.producer == none || !told.insert(read.producer).second) continue;
        FusionRemark remark;
        remark.producer = read.node->name;
        remark.consumer = table_.statement(reader).name;
        remark.origin = table_.statement(reader).origin;
        remark.fused = table_.group_of(read.producer) == table_.group_of(reader);
        remark.reason = remark.fused
                            ? "the reader uses the producer's rows unchanged"
                            : reason(reader, table_.group(table_.group_of(read.producer)).label);
        result.remarks.push_back(std::move(remark));
      }
    }
    result.steps = steps_ + check_.steps() + table_.steps();
    return result;
  }

  std::string reason(size_t reader, size_t label) const {
    auto found = reasons_.find({reader, label});
    if (found != reasons_.end() && !found->second.empty()) return found->second;
    // The producer's group was merged into another one after the reader had looked at it.
    for (auto entry = reasons_.lower_bound({reader, 0});
         entry != reasons_.end() && entry->first.first == reader; ++entry) {
      if (!entry->second.empty()) return entry->second;
    }
    return "another choice of partners saves more bytes";
  }

  GroupTable table_;
  JoinCheck check_;
  std::map<std::pair<size_t, size_t>, std::string> reasons_;  ///< by statement and group's label
  int64_t steps_ = 0;
};

}  // namespace

Grouping group_rows(const TensorProgram& program, const Dependences& dependences,
                    const GroupingLimits& limits) {
  return Grouper(program, dependences, limits).run();
}

}  // namespace fusegrad::ir
