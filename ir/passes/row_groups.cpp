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
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "ir/passes/acyclic_groups.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

/// Work on one grouping. Each statement is looked at once, with its own reads; what is known of a
/// group is kept while it grows, because looking through its members for every reader would make
/// grouping quadratic. When groups merge, only the members of the smaller ones are looked at.
class Grouper {
 public:
  Grouper(const TensorProgram& program, const Dependences& dependences,
          const GroupingLimits& limits)
      : program_(program), dependences_(dependences), limits_(limits) {
    const size_t count = program.statements.size();
    std::unordered_map<std::string_view, size_t> number;
    for (size_t i = 0; i < count; ++i) number.emplace(program.statements[i].name, i);
    std::unordered_map<std::string_view, size_t> writer;
    updated_by_.assign(count, nullptr);
    for (const TensorUpdate& update : program.updates) {
      updated_by_[number.at(update.value)] = &update.target;
      writer[update.target] = number.at(update.value);
    }
    reads_.resize(count);
    readers_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      TensorStatement copy = program.statements[i];
      rewrite_statement(copy, [&](const ExprRef& node) {
        if (node->op != Op::read) return node;
        const auto producer = number.find(node->name);
        const auto update = writer.find(node->name);
        reads_[i].push_back({node, producer == number.end() ? none : producer->second,
                             update == writer.end() ? none : update->second});
        if (producer != number.end()) readers_[producer->second].push_back(i);
        return node;
      });
    }
    group_of_.assign(count, none);
    row_places_.resize(count);
    rank_.resize(count);
    for (size_t i = 0; i < dependences_.order.size(); ++i) rank_[dependences_.order[i]] = i;
  }

  Grouping run() {
    for (size_t statement : dependences_.order) place(statement);
    return finish();
  }

 private:
  static constexpr size_t none = SIZE_MAX;

  struct Read {
    ExprRef node;
    size_t producer;  ///< the statement that makes the tensor, or none
    size_t update;    ///< the statement whose value the tensor takes after the step, or none
  };
  /// A row dimension. Members know their place for it by the number, which stays when other rows of
  /// the group go.
  struct Row {
    Extent extent;
    size_t number;
  };
  struct RowPlace {
    size_t row;
    size_t position;  ///< among the member's left indices
  };
  struct Group {
    size_t label = 0;             ///< in the order in which groups were made; the oldest of merged
    std::vector<size_t> members;  ///< in no particular order
    std::vector<size_t> reductions;  ///< those of the members
    std::vector<Row> rows;
    int64_t local_bytes = 0;  ///< of a row, if all members were local
    int64_t instructions = 0;
  };
  /// A group that the statement reads.
  struct Candidate {
    size_t group;
    /// By left index of the statement: the group's row that it stands for, or none.
    std::vector<size_t> row_of_left;
    bool shares_rows = false;
    int64_t bytes = 0;  ///< that are not stored, and read, when they meet
  };
  struct JoinRow {
    Extent extent;
    size_t left;               ///< of the statement
    std::vector<size_t> rows;  ///< for each of the groups: which of its rows
  };
  struct Attempt {
    bool possible = false;
    std::string reason;  ///< why not
    std::vector<JoinRow> rows;
  };
  /// Numbers of candidates, in order.
  using Subset = std::vector<size_t>;

  static Attempt refused(std::string reason) { return {false, std::move(reason), {}}; }

  // ---- One statement finds its group.

  void place(size_t statement) {
    const std::vector<Candidate> candidates = find_candidates(statement);
    Subset best;
    Attempt join;
    // All subsets of the candidates, the largest first; beyond six candidates only the pairs and
    // singles.
    const size_t count = candidates.size();
    for (size_t wanted = count; wanted > 0 && best.empty(); --wanted) {
      if (count > 6 && wanted > 2 && wanted < count) continue;
      if (wanted == 1) {
        for (size_t c = 0; c < count; ++c) {
          Attempt attempt = try_join(statement, candidates, {c}, true);
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
        Attempt attempt = try_join(statement, candidates, subset, false);
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
          try_join(statement, candidates, with, true).reason;
    }
    if (best.empty()) {
      found_group(statement);
    } else {
      merge(statement, candidates, best, join);
    }
  }

  size_t label(const Candidate& candidate) const { return groups_[candidate.group].label; }

  std::vector<Candidate> find_candidates(size_t statement) {
    std::vector<Candidate> candidates;
    std::unordered_map<size_t, size_t> known;
    std::unordered_set<size_t> counted;
    for (const Read& read : reads_[statement]) {
      if (read.producer == none) continue;
      const size_t group = group_of_[read.producer];
      FG_CHECK(group != none, "statement `{}` is not placed yet",
               program_.statements[read.producer].name);
      const auto [entry, is_new] = known.emplace(group, candidates.size());
      if (is_new) candidates.push_back({group, {}, false, 0});
      if (!counted.insert(read.producer).second) continue;
      int64_t& bytes = candidates[entry->second].bytes;
      bytes = saturating_add(bytes, tensor_bytes(program_.statements[read.producer]));
    }
    std::sort(candidates.begin(), candidates.end(),
              [&](const Candidate& a, const Candidate& b) { return label(a) < label(b); });
    for (Candidate& candidate : candidates) align(statement, candidate);
    return candidates;
  }

  /// Which left index of the statement stands for which row of the group.
  void align(size_t statement, Candidate& candidate) {
    const std::vector<Row>& rows = groups_[candidate.group].rows;
    candidate.row_of_left.assign(program_.statements[statement].indices.size(), none);
    for (size_t r = 0; r < rows.size(); ++r) {
      const std::optional<size_t> left = aligned_left_index(statement, candidate.group, rows[r]);
      if (!left) continue;
      candidate.row_of_left[*left] = r;
      candidate.shares_rows = true;
    }
  }

  /// The left index of `statement` that stands in the place of this row in all its reads of the
  /// group; none if the reads differ, shift, or run over another extent.
  std::optional<size_t> aligned_left_index(size_t statement, size_t group, const Row& row) {
    const TensorStatement& reader = program_.statements[statement];
    std::optional<size_t> aligned;
    for (const Read& read : reads_[statement]) {
      ++steps_;
      if (read.producer == none || group_of_[read.producer] != group) continue;
      const ExprRef& index = read.node->operands[place_of(read.producer, row.number)];
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

  /// The position of the group's row among the member's left indices.
  size_t place_of(size_t member, size_t row) const {
    for (const RowPlace& place : row_places_[member]) {
      if (place.row == row) return place.position;
    }
    FG_UNREACHABLE("`{}` has no place for a row of its group", program_.statements[member].name);
  }
  const std::string& row_name(size_t member, size_t row) const {
    return program_.statements[member].indices[place_of(member, row)].name;
  }

  /// Subsets of that size which may share rows, those first that save most, else in order.
  std::vector<Subset> subsets_by_bytes(size_t statement, const std::vector<Candidate>& candidates,
                                       size_t wanted) {
    // A row that all share is one that each shares; statements of rank 0 share having none.
    const bool is_scalar = program_.statements[statement].indices.empty();
    std::vector<size_t> able;
    for (size_t c = 0; c < candidates.size(); ++c) {
      const bool both_scalar = is_scalar && groups_[candidates[c].group].rows.empty();
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

  // ---- Whether the statement and some groups can be one group.

  /// With a reason that can be told, the obstacles are looked for in their order; without, the
  /// cheapest first.
  Attempt try_join(size_t statement, const std::vector<Candidate>& candidates, const Subset& subset,
                   bool reason_wanted) {
    const TensorStatement& joining = program_.statements[statement];
    std::vector<size_t> parts;
    bool all_scalar = joining.indices.empty();
    for (const size_t c : subset) {
      parts.push_back(candidates[c].group);
      all_scalar = all_scalar && groups_[candidates[c].group].rows.empty();
    }
    const auto is_cyclic = [&] { return graph_.would_be_cyclic(parts, groups_before(statement)); };
    const int64_t instructions = instructions_with(statement, parts);
    const auto too_many = [&] {
      return refused(fmt::format("the kernel would hold {} instructions, more than {}",
                                 instructions, limits_.instructions));
    };
    // Before the members of several groups are looked at.
    if (parts.size() > 1 && instructions > limits_.instructions) return too_many();
    Attempt join;
    join.rows = shared_rows(statement, candidates, subset);
    if (parts.size() > 1 && !reason_wanted && !join.rows.empty() && is_cyclic()) return {};
    // Members of different groups read each other too: what is a row for all must be read unchanged
    // by all. Within one group they do already.
    if (parts.size() > 1) remove_rows_read_otherwise(parts, join.rows);
    int64_t rows = 1;
    for (const JoinRow& row : join.rows) rows = saturating_multiply(rows, row.extent.maximum);
    if (join.rows.empty() && !all_scalar) {
      return refused("no row dimension is shared: the reader sums or shifts along every one");
    }
    const bool demotes = std::any_of(parts.begin(), parts.end(), [&](size_t part) {
      return groups_[part].rows.size() > join.rows.size();
    });
    if (demotes && rows < limits_.minimum_rows) {
      return refused(fmt::format("only {} independent rows would remain, fewer than {}", rows,
                                 limits_.minimum_rows));
    }
    if (instructions > limits_.instructions) return too_many();
    if (std::string reason = too_much_memory(statement, parts, join.rows, demotes);
        !reason.empty()) {
      return refused(std::move(reason));
    }
    if (std::string reason = update_conflict(statement, parts, join.rows); !reason.empty()) {
      return refused(std::move(reason));
    }
    if ((parts.size() == 1 || reason_wanted || all_scalar) && is_cyclic()) {
      return refused(
          "the kernels would wait for each other (an update runs after every reader of the old "
          "value)");
    }
    join.possible = true;
    return join;
  }

  /// Of one point of each: the statement and what it would meet.
  int64_t instructions_with(size_t statement, const std::vector<size_t>& parts) const {
    const TensorStatement& source = program_.statements[statement];
    int64_t sum = 1 + static_cast<int64_t>(reads_[statement].size());
    sum += instruction_weight(source.value);
    if (source.condition != nullptr) sum += instruction_weight(source.condition);
    for (const size_t part : parts) sum += groups_[part].instructions;
    return sum;
  }

  std::vector<size_t> groups_before(size_t statement) {
    std::vector<size_t> groups;
    for (const size_t before : dependences_.before[statement]) {
      FG_CHECK(group_of_[before] != none, "statement `{}` is not placed yet",
               program_.statements[before].name);
      groups.push_back(group_of_[before]);
    }
    return groups;
  }

  std::vector<JoinRow> shared_rows(size_t statement, const std::vector<Candidate>& candidates,
                                   const Subset& subset) {
    std::vector<JoinRow> shared;
    for (size_t left = 0; left < program_.statements[statement].indices.size(); ++left) {
      JoinRow row;
      row.left = left;
      for (const size_t c : subset) {
        ++steps_;
        const size_t r = candidates[c].row_of_left[left];
        if (r == none) break;
        row.extent = groups_[candidates[c].group].rows[r].extent;
        row.rows.push_back(r);
      }
      if (row.rows.size() == subset.size()) shared.push_back(std::move(row));
    }
    return shared;
  }

  /// The number by which members of the part know the shared row.
  size_t number_in(const std::vector<size_t>& parts, size_t part, const JoinRow& row) const {
    return groups_[parts[part]].rows[row.rows[part]].number;
  }

  /// Which of the parts each group is.
  std::unordered_map<size_t, size_t> numbered(const std::vector<size_t>& parts) const {
    std::unordered_map<size_t, size_t> number;
    for (size_t part = 0; part < parts.size(); ++part) number.emplace(parts[part], part);
    return number;
  }

  size_t largest(const std::vector<size_t>& parts) const {
    size_t best = 0;
    for (size_t part = 1; part < parts.size(); ++part) {
      if (groups_[parts[part]].members.size() > groups_[parts[best]].members.size()) best = part;
    }
    return best;
  }

  /// Calls `visit` on every read of one part's member by a member of another part.
  void for_each_read_between(
      const std::vector<size_t>& parts,
      const std::function<void(size_t reader, size_t reader_part, const Read& read,
                               size_t producer_part)>& visit) {
    const std::unordered_map<size_t, size_t> part_of = numbered(parts);
    const size_t untouched = largest(parts);
    const auto part = [&](size_t statement) {
      auto found = part_of.find(group_of_[statement]);
      return found == part_of.end() ? none : found->second;
    };
    for (size_t own = 0; own < parts.size(); ++own) {
      if (own == untouched) continue;
      for (const size_t member : groups_[parts[own]].members) {
        for (const Read& read : reads_[member]) {
          ++steps_;
          if (read.producer == none) continue;
          const size_t other = part(read.producer);
          if (other != none && other != own) visit(member, own, read, other);
        }
        for (const size_t reader : readers_[member]) {
          ++steps_;
          // Those of the smaller parts are met as their own reads.
          if (group_of_[reader] == none || part(reader) != untouched) continue;
          for (const Read& read : reads_[reader]) {
            if (read.producer == member) visit(reader, untouched, read, own);
          }
        }
      }
    }
  }

  void remove_rows_read_otherwise(const std::vector<size_t>& parts, std::vector<JoinRow>& rows) {
    if (rows.empty()) return;
    for_each_read_between(
        parts, [&](size_t reader, size_t reader_part, const Read& read, size_t producer_part) {
          std::erase_if(rows, [&](const JoinRow& row) {
            const ExprRef& index =
                read.node->operands[place_of(read.producer, number_in(parts, producer_part, row))];
            return !is_index(index) ||
                   index->name != row_name(reader, number_in(parts, reader_part, row));
          });
        });
  }

  /// Bytes that a row's locals of the group grow by when only these rows remain.
  int64_t demotion_factor(const std::vector<size_t>& parts, size_t part,
                          const std::vector<JoinRow>& remaining) const {
    int64_t factor = 1;
    const std::vector<Row>& rows = groups_[parts[part]].rows;
    for (size_t r = 0; r < rows.size(); ++r) {
      const bool remains = std::any_of(remaining.begin(), remaining.end(),
                                       [&](const JoinRow& row) { return row.rows[part] == r; });
      if (!remains) factor = saturating_multiply(factor, rows[r].extent.maximum);
    }
    return factor;
  }

  /// Bytes of one row of the statement's tensor.
  int64_t row_bytes(size_t statement, const std::vector<JoinRow>& rows) const {
    const TensorStatement& source = program_.statements[statement];
    int64_t bytes = byte_size(source.type);
    for (size_t d = 0; d < source.indices.size(); ++d) {
      const bool is_row =
          std::any_of(rows.begin(), rows.end(), [&](const JoinRow& row) { return row.left == d; });
      if (!is_row) bytes = saturating_multiply(bytes, source.indices[d].end.maximum);
    }
    return bytes;
  }

  int64_t local_bytes(size_t statement, const std::vector<size_t>& parts,
                      const std::vector<JoinRow>& rows) const {
    int64_t bytes = row_bytes(statement, rows);
    for (size_t part = 0; part < parts.size(); ++part) {
      bytes = saturating_add(bytes, saturating_multiply(groups_[parts[part]].local_bytes,
                                                        demotion_factor(parts, part, rows)));
    }
    return bytes;
  }

  std::string too_much_memory(size_t statement, const std::vector<size_t>& parts,
                              const std::vector<JoinRow>& rows, bool demotes) {
    const int64_t bytes = local_bytes(statement, parts, rows);
    const int64_t limit = demotes ? limits_.local_bytes : limits_.stack_bytes;
    if (bytes > limit) {
      return fmt::format("{} bytes of row-local values, more than {}", bytes, limit);
    }
    const std::unordered_map<size_t, size_t> part_of = numbered(parts);
    // What is reduced in a group whose rows all remain was asked when it came into it.
    std::vector<std::pair<size_t, size_t>> asked;  // member, part
    for (size_t part = 0; part < parts.size() && demotes; ++part) {
      if (groups_[parts[part]].rows.size() == rows.size()) continue;
      for (const size_t member : groups_[parts[part]].reductions) asked.emplace_back(member, part);
    }
    std::sort(asked.begin(), asked.end(),
              [&](const auto& a, const auto& b) { return rank_[a.first] < rank_[b.first]; });
    std::set<std::string> names;
    for (const auto& [member, part] : asked) {
      names.clear();
      for (const JoinRow& row : rows) names.insert(row_name(member, number_in(parts, part, row)));
      if (std::string reason = rereads_too_much(member, names, part_of); !reason.empty()) {
        return reason;
      }
    }
    names.clear();
    for (const JoinRow& row : rows) {
      names.insert(program_.statements[statement].indices[row.left].name);
    }
    return rereads_too_much(statement, names, part_of);
  }

  /// Would every row read a large operand of the reduction again, which no member of the parts
  /// makes?
  std::string rereads_too_much(size_t statement, const std::set<std::string>& rows,
                               const std::unordered_map<size_t, size_t>& part_of) {
    const TensorStatement& member = program_.statements[statement];
    if (member.reduction == Reduction::none || rows.size() == member.indices.size()) return "";
    std::map<std::string, int64_t> extents;
    for (const auto* list : {&member.indices, &member.binders}) {
      for (const IndexRange& index : *list) extents[index.name] = index.end.maximum - index.begin;
    }
    for (const Read& read : reads_[statement]) {
      ++steps_;
      if (read.producer != none && part_of.contains(group_of_[read.producer])) continue;
      // Part of the operand may belong to the row; what every row re-reads is the rest.
      int64_t bytes = 4;
      for (const std::string& name : free_indices(read.node)) {
        if (!rows.contains(name)) bytes = saturating_multiply(bytes, extents[name]);
      }
      if (bytes > limits_.operand_bytes) {
        return fmt::format("every row would re-read {} bytes of `{}`, more than {}", bytes,
                           read.node->name, limits_.operand_bytes);
      }
    }
    return "";
  }

  /// A reader of an updated tensor may share the update's kernel only if it stays within its own
  /// row. The pairs of one group were asked when they met.
  std::string update_conflict(size_t statement, const std::vector<size_t>& parts,
                              const std::vector<JoinRow>& rows) {
    const std::unordered_map<size_t, size_t> part_of = numbered(parts);
    const auto part = [&](size_t other) {
      auto found = part_of.find(group_of_[other]);
      return found == part_of.end() ? none : found->second;
    };
    /// Where the row stands among the left indices; the joining statement is of no part yet.
    const auto place = [&](size_t member, const JoinRow& row) {
      return member == statement ? row.left : place_of(member, number_in(parts, part(member), row));
    };
    size_t worst_update = none;
    size_t worst_reader = none;
    const auto ask = [&](size_t update, size_t reader) {
      for (const Read& read : reads_[reader]) {
        ++steps_;
        if (read.update != update) continue;
        for (const JoinRow& row : rows) {
          const ExprRef& index = read.node->operands[place(update, row)];
          if (is_index(index) &&
              index->name == program_.statements[reader].indices[place(reader, row)].name) {
            continue;
          }
          const auto rank = [&](size_t other) { return other == none ? none : rank_[other]; };
          if (std::pair(rank_[update], rank_[reader]) <
              std::pair(rank(worst_update), rank(worst_reader))) {
            worst_update = update;
            worst_reader = reader;
          }
        }
      }
    };
    if (updated_by_[statement] != nullptr) {
      ask(statement, statement);
      for (const size_t reader : dependences_.readers[statement]) {
        if (part(reader) != none) ask(statement, reader);
      }
    }
    const size_t untouched = largest(parts);
    for (size_t own = 0; own < parts.size(); ++own) {
      if (own == untouched) continue;
      for (const size_t member : groups_[parts[own]].members) {
        ++steps_;
        if (updated_by_[member] != nullptr) {
          for (const size_t reader : dependences_.readers[member]) {
            if (part(reader) != none && part(reader) != own) ask(member, reader);
          }
        }
        for (const Read& read : reads_[member]) {
          if (read.update == none || group_of_[read.update] == none) continue;
          if (part(read.update) == untouched) ask(read.update, member);
        }
      }
    }
    if (worst_update == none) return "";
    return fmt::format("`{}` reads the old value of `{}` outside its own row",
                       program_.statements[worst_reader].name, *updated_by_[worst_update]);
  }

  // ---- Groups grow.

  void found_group(size_t statement) {
    const TensorStatement& source = program_.statements[statement];
    Group group;
    group.label = groups_.size();
    group.members = {statement};
    group.local_bytes = byte_size(source.type);
    group.instructions = instructions_with(statement, {});
    if (source.reduction != Reduction::none) group.reductions = {statement};
    for (size_t d = 0; d < source.indices.size(); ++d) {
      group.rows.push_back({source.indices[d].end, d});
      row_places_[statement].push_back({d, d});
    }
    const size_t number = graph_.add(groups_before(statement));
    FG_CHECK(number == groups_.size(), "groups and their graph differ");
    group_of_[statement] = number;
    groups_.push_back(std::move(group));
  }

  void merge(size_t statement, const std::vector<Candidate>& candidates, const Subset& subset,
             const Attempt& join) {
    std::vector<size_t> parts;
    for (const size_t c : subset) parts.push_back(candidates[c].group);
    const size_t base = largest(parts);
    const int64_t bytes = local_bytes(statement, parts, join.rows);
    const int64_t instructions = instructions_with(statement, parts);
    std::vector<Row> rows;
    for (const JoinRow& row : join.rows) {
      rows.push_back({row.extent, number_in(parts, base, row)});
    }
    const size_t target = parts[base];
    size_t label = groups_[target].label;
    for (size_t part = 0; part < parts.size(); ++part) {
      if (part == base) continue;
      Group& other = groups_[parts[part]];
      label = std::min(label, other.label);
      for (const size_t member : other.members) {
        std::vector<RowPlace> places;
        for (size_t r = 0; r < rows.size(); ++r) {
          places.push_back(
              {rows[r].number, place_of(member, number_in(parts, part, join.rows[r]))});
        }
        row_places_[member] = std::move(places);
        group_of_[member] = target;
      }
    }
    for (size_t part = 0; part < parts.size(); ++part) {
      if (part == base) continue;
      Group& other = groups_[parts[part]];
      Group& all = groups_[target];
      all.members.insert(all.members.end(), other.members.begin(), other.members.end());
      all.reductions.insert(all.reductions.end(), other.reductions.begin(), other.reductions.end());
      other = Group{};
    }
    std::swap(parts[0], parts[base]);
    graph_.merge(parts, groups_before(statement));
    Group& all = groups_[target];
    all.label = label;
    all.local_bytes = bytes;
    all.instructions = instructions;
    all.members.push_back(statement);
    if (program_.statements[statement].reduction != Reduction::none) {
      all.reductions.push_back(statement);
    }
    for (size_t r = 0; r < rows.size(); ++r) {
      row_places_[statement].push_back({rows[r].number, join.rows[r].left});
    }
    all.rows = std::move(rows);
    group_of_[statement] = target;
  }

  // ---- The result.

  Grouping finish() {
    Grouping result;
    std::vector<size_t> by_label;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (!groups_[i].members.empty()) by_label.push_back(i);
    }
    std::sort(by_label.begin(), by_label.end(),
              [&](size_t a, size_t b) { return groups_[a].label < groups_[b].label; });
    std::vector<size_t> renumbered(groups_.size(), none);
    for (const size_t i : by_label) {
      renumbered[i] = result.groups.size();
      RowGroup group;
      group.members = groups_[i].members;
      std::sort(group.members.begin(), group.members.end(),
                [&](size_t a, size_t b) { return rank_[a] < rank_[b]; });
      for (const Row& row : groups_[i].rows) {
        RowDimension dimension;
        dimension.extent = row.extent;
        for (const size_t member : group.members) {
          dimension.position[member] = place_of(member, row.number);
        }
        group.rows.push_back(std::move(dimension));
      }
      result.groups.push_back(std::move(group));
    }
    for (const size_t group : group_of_) result.group_of.push_back(renumbered.at(group));
    for (const size_t reader : dependences_.order) {
      std::set<size_t> told;
      for (const Read& read : reads_[reader]) {
        if (read.producer == none || !told.insert(read.producer).second) continue;
        FusionRemark remark;
        remark.producer = read.node->name;
        remark.consumer = program_.statements[reader].name;
        remark.origin = program_.statements[reader].origin;
        remark.fused = group_of_[read.producer] == group_of_[reader];
        remark.reason = remark.fused ? "the reader uses the producer's rows unchanged"
                                     : reason(reader, groups_[group_of_[read.producer]].label);
        result.remarks.push_back(std::move(remark));
      }
    }
    result.steps = steps_ + graph_.steps();
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

  const TensorProgram& program_;
  const Dependences& dependences_;
  const GroupingLimits& limits_;
  std::vector<std::vector<Read>> reads_;
  std::vector<std::vector<size_t>> readers_;       ///< of a statement's tensor
  std::vector<const std::string*> updated_by_;     ///< the tensor whose new value it is, or null
  std::vector<std::vector<RowPlace>> row_places_;  ///< of rows of its group, and of former ones
  std::vector<Group> groups_;  ///< by number; those merged into others stay behind empty
  std::vector<size_t> group_of_;
  std::vector<size_t> rank_;  ///< of statements in topological order
  AcyclicGroups graph_;       ///< of the groups
  std::map<std::pair<size_t, size_t>, std::string> reasons_;  ///< by statement and group's label
  int64_t steps_ = 0;
};

}  // namespace

Grouping group_rows(const TensorProgram& program, const Dependences& dependences,
                    const GroupingLimits& limits) {
  return Grouper(program, dependences, limits).run();
}

}  // namespace fusegrad::ir
