// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The obstacles, one function each: rows that are not shared, too few rows, too much memory or
// traffic for a row, an update before its readers, kernels that wait for each other.
#include "ir/passes/join_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

JoinAttempt refused(std::string reason) { return {false, std::move(reason), {}}; }

}  // namespace

JoinAttempt JoinCheck::attempt(size_t statement, const std::vector<JoinCandidate>& candidates,
                               const std::vector<size_t>& subset, bool reason_wanted) {
  const TensorStatement& joining = table_.statement(statement);
  std::vector<size_t> parts;
  bool all_scalar = joining.indices.empty();
  for (const size_t c : subset) {
    parts.push_back(candidates[c].group);
    all_scalar = all_scalar && table_.group(candidates[c].group).rows.empty();
  }
  const auto is_cyclic = [&] { return table_.would_be_cyclic(parts, statement); };
  const int64_t instructions = instructions_with(statement, parts);
  const auto too_many = [&] {
    return refused(fmt::format("the kernel would hold {} instructions, more than {}", instructions,
                               limits_.instructions));
  };
  // Before the members of several groups are looked at.
  if (parts.size() > 1 && instructions > limits_.instructions) return too_many();
  JoinAttempt join;
  join.rows = shared_rows(statement, candidates, subset);
  if (parts.size() > 1 && !reason_wanted && !join.rows.empty() && is_cyclic()) return {};
  // Members of different groups read each other too: what is a row for all must be read unchanged
  // by all. Within one group they do already.
  if (parts.size() > 1) remove_rows_read_otherwise(parts, join.rows);
  int64_t rows = 1;
  for (const SharedRow& row : join.rows) rows = saturating_multiply(rows, row.extent.maximum);
  if (join.rows.empty() && !all_scalar) {
    return refused("no row dimension is shared: the reader sums or shifts along every one");
  }
  const bool demotes = std::any_of(parts.begin(), parts.end(), [&](size_t part) {
    return table_.group(part).rows.size() > join.rows.size();
  });
  if (demotes && rows < limits_.minimum_rows) {
    return refused(fmt::format("only {} independent rows would remain, fewer than {}", rows,
                               limits_.minimum_rows));
  }
  if (instructions > limits_.instructions) return too_many();
  if (std::string reason = too_much_memory(statement, parts, join.rows, demotes); !reason.empty()) {
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

int64_t JoinCheck::instructions_with(size_t statement, const std::vector<size_t>& parts) const {
  const TensorStatement& source = table_.statement(statement);
  int64_t sum = 1 + static_cast<int64_t>(table_.reads(statement).size());
  sum += instruction_weight(source.value);
  if (source.condition != nullptr) sum += instruction_weight(source.condition);
  for (const size_t part : parts) sum += table_.group(part).instructions;
  return sum;
}

std::vector<GroupTable::SharedRow> JoinCheck::shared_rows(
    size_t statement, const std::vector<JoinCandidate>& candidates,
    const std::vector<size_t>& subset) {
  std::vector<SharedRow> shared;
  for (size_t left = 0; left < table_.statement(statement).indices.size(); ++left) {
    SharedRow row;
    row.left = left;
    for (const size_t c : subset) {
      ++steps_;
      const size_t r = candidates[c].row_of_left[left];
      if (r == none) break;
      row.extent = table_.group(candidates[c].group).rows[r].extent;
      row.rows.push_back(r);
    }
    if (row.rows.size() == subset.size()) shared.push_back(std::move(row));
  }
  return shared;
}

std::unordered_map<size_t, size_t> JoinCheck::numbered(const Parts& parts) {
  std::unordered_map<size_t, size_t> number;
  for (size_t part = 0; part < parts.size(); ++part) number.emplace(parts[part], part);
  return number;
}

void JoinCheck::for_each_read_between(
    const Parts& parts, const std::function<void(size_t reader, size_t reader_part,
                                                 const Read& read, size_t producer_part)>& visit) {
  const std::unordered_map<size_t, size_t> part_of = numbered(parts);
  const size_t untouched = table_.largest(parts);
  const auto part = [&](size_t statement) {
    auto found = part_of.find(table_.group_of(statement));
    return found == part_of.end() ? none : found->second;
  };
  for (size_t own = 0; own < parts.size(); ++own) {
    if (own == untouched) continue;
    for (const size_t member : table_.group(parts[own]).members) {
      for (const Read& read : table_.reads(member)) {
        ++steps_;
        if (read.producer == none) continue;
        const size_t other = part(read.producer);
        if (other != none && other != own) visit(member, own, read, other);
      }
      for (const size_t reader : table_.readers(member)) {
        ++steps_;
        // Those of the smaller parts are met as their own reads.
        if (table_.group_of(reader) == none || part(reader) != untouched) continue;
        for (const Read& read : table_.reads(reader)) {
          if (read.producer == member) visit(reader, untouched, read, own);
        }
      }
    }
  }
}

void JoinCheck::remove_rows_read_otherwise(const Parts& parts, std::vector<SharedRow>& rows) {
  if (rows.empty()) return;
  for_each_read_between(
      parts, [&](size_t reader, size_t reader_part, const Read& read, size_t producer_part) {
        std::erase_if(rows, [&](const SharedRow& row) {
          const ExprRef& index = read.node->operands[table_.place_of(
              read.producer, table_.number_in(parts, producer_part, row))];
          return !is_index(index) ||
                 index->name != table_.row_name(reader, table_.number_in(parts, reader_part, row));
        });
      });
}

/// Bytes that a row's locals of the group grow by when only these rows remain.
int64_t JoinCheck::demotion_factor(const Parts& parts, size_t part,
                                   const std::vector<SharedRow>& remaining) const {
  int64_t factor = 1;
  const std::vector<GroupTable::Row>& rows = table_.group(parts[part]).rows;
  for (size_t r = 0; r < rows.size(); ++r) {
    const bool remains = std::any_of(remaining.begin(), remaining.end(),
                                     [&](const SharedRow& row) { return row.rows[part] == r; });
    if (!remains) factor = saturating_multiply(factor, rows[r].extent.maximum);
  }
  return factor;
}

/// Bytes of one row of the statement's tensor.
int64_t JoinCheck::row_bytes(size_t statement, const std::vector<SharedRow>& rows) const {
  const TensorStatement& source = table_.statement(statement);
  int64_t bytes = byte_size(source.type);
  for (size_t d = 0; d < source.indices.size(); ++d) {
    const bool is_row =
        std::any_of(rows.begin(), rows.end(), [&](const SharedRow& row) { return row.left == d; });
    if (!is_row) bytes = saturating_multiply(bytes, source.indices[d].end.maximum);
  }
  return bytes;
}

int64_t JoinCheck::local_bytes(size_t statement, const std::vector<size_t>& parts,
                               const std::vector<SharedRow>& rows) const {
  int64_t bytes = row_bytes(statement, rows);
  for (size_t part = 0; part < parts.size(); ++part) {
    bytes = saturating_add(bytes, saturating_multiply(table_.group(parts[part]).local_bytes,
                                                      demotion_factor(parts, part, rows)));
  }
  return bytes;
}

std::string JoinCheck::too_much_memory(size_t statement, const Parts& parts,
                                       const std::vector<SharedRow>& rows, bool demotes) {
  const int64_t bytes = local_bytes(statement, parts, rows);
  const int64_t limit = demotes ? limits_.local_bytes : limits_.stack_bytes;
  if (bytes > limit) {
    return fmt::format("{} bytes of row-local values, more than {}", bytes, limit);
  }
  const std::unordered_map<size_t, size_t> part_of = numbered(parts);
  // What is reduced in a group whose rows all remain was asked when it came into it.
  std::vector<std::pair<size_t, size_t>> asked;  // member, part
  for (size_t part = 0; part < parts.size() && demotes; ++part) {
    if (table_.group(parts[part]).rows.size() == rows.size()) continue;
    for (const size_t member : table_.group(parts[part]).reductions)
      asked.emplace_back(member, part);
  }
  std::sort(asked.begin(), asked.end(), [&](const auto& a, const auto& b) {
    return table_.rank(a.first) < table_.rank(b.first);
  });
  std::set<std::string> names;
  for (const auto& [member, part] : asked) {
    names.clear();
    for (const SharedRow& row : rows)
      names.insert(table_.row_name(member, table_.number_in(parts, part, row)));
    if (std::string reason = rereads_too_much(member, names, part_of); !reason.empty()) {
      return reason;
    }
  }
  names.clear();
  for (const SharedRow& row : rows) {
    names.insert(table_.statement(statement).indices[row.left].name);
  }
  return rereads_too_much(statement, names, part_of);
}

/// Would every row read a large operand of the reduction again, which no member of the parts
/// makes?
std::string JoinCheck::rereads_too_much(size_t statement, const std::set<std::string>& rows,
                                        const std::unordered_map<size_t, size_t>& part_of) {
  const TensorStatement& member = table_.statement(statement);
  if (member.reduction == Reduction::none || rows.size() == member.indices.size()) return "";
  std::map<std::string, int64_t> extents;
  for (const auto* list : {&member.indices, &member.binders}) {
    for (const IndexRange& index : *list) extents[index.name] = index.end.maximum - index.begin;
  }
  for (const Read& read : table_.reads(statement)) {
    ++steps_;
    if (read.producer != none && part_of.contains(table_.group_of(read.producer))) continue;
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
std::string JoinCheck::update_conflict(size_t statement, const Parts& parts,
                                       const std::vector<SharedRow>& rows) {
  const std::unordered_map<size_t, size_t> part_of = numbered(parts);
  const auto part = [&](size_t other) {
    auto found = part_of.find(table_.group_of(other));
    return found == part_of.end() ? none : found->second;
  };
  /// Where the row stands among the left indices; the joining statement is of no part yet.
  const auto place = [&](size_t member, const SharedRow& row) {
    return member == statement
               ? row.left
               : table_.place_of(member, table_.number_in(parts, part(member), row));
  };
  size_t worst_update = none;
  size_t worst_reader = none;
  const auto ask = [&](size_t update, size_t reader) {
    for (const Read& read : table_.reads(reader)) {
      ++steps_;
      if (read.update != update) continue;
      for (const SharedRow& row : rows) {
        const ExprRef& index = read.node->operands[place(update, row)];
        if (is_index(index) &&
            index->name == table_.statement(reader).indices[place(reader, row)].name) {
          continue;
        }
        const auto rank = [&](size_t other) { return other == none ? none : table_.rank(other); };
        if (std::pair(table_.rank(update), table_.rank(reader)) <
            std::pair(rank(worst_update), rank(worst_reader))) {
          worst_update = update;
          worst_reader = reader;
        }
      }
    }
  };
  if (table_.updated_by(statement) != nullptr) {
    ask(statement, statement);
    for (const size_t reader : table_.dependences().readers[statement]) {
      if (part(reader) != none) ask(statement, reader);
    }
  }
  const size_t untouched = table_.largest(parts);
  for (size_t own = 0; own < parts.size(); ++own) {
    if (own == untouched) continue;
    for (const size_t member : table_.group(parts[own]).members) {
      ++steps_;
      if (table_.updated_by(member) != nullptr) {
        for (const size_t reader : table_.dependences().readers[member]) {
          if (part(reader) != none && part(reader) != own) ask(member, reader);
        }
      }
      for (const Read& read : table_.reads(member)) {
        if (read.update == none || table_.group_of(read.update) == none) continue;
        if (part(read.update) == untouched) ask(read.update, member);
      }
    }
  }
  if (worst_update == none) return "";
  return fmt::format("`{}` reads the old value of `{}` outside its own row",
                     table_.statement(worst_reader).name, *table_.updated_by(worst_update));
}

}  // namespace fusegrad::ir
