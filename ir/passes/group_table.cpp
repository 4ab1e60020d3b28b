// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The members of the largest part are never looked at: they keep their group and the numbers of
// their rows.
#include "ir/passes/group_table.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {

GroupTable::GroupTable(const TensorProgram& program, const Dependences& dependences)
    : program_(program), dependences_(dependences) {
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

size_t GroupTable::place_of(size_t member, size_t row) const {
  for (const RowPlace& place : row_places_[member]) {
    if (place.row == row) return place.position;
  }
  FG_UNREACHABLE("`{}` has no place for a row of its group", program_.statements[member].name);
}

size_t GroupTable::largest(const std::vector<size_t>& parts) const {
  size_t best = 0;
  for (size_t part = 1; part < parts.size(); ++part) {
    if (groups_[parts[part]].members.size() > groups_[parts[best]].members.size()) best = part;
  }
  return best;
}

std::vector<size_t> GroupTable::groups_before(size_t statement) const {
  std::vector<size_t> groups;
  for (const size_t before : dependences_.before[statement]) {
    FG_CHECK(group_of_[before] != none, "statement `{}` is not placed yet",
             program_.statements[before].name);
    groups.push_back(group_of_[before]);
  }
  return groups;
}

void GroupTable::found(size_t statement, int64_t instructions) {
  const TensorStatement& source = program_.statements[statement];
  Group group;
  group.label = groups_.size();
  group.members = {statement};
  group.local_bytes = byte_size(source.type);
  group.instructions = instructions;
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

void GroupTable::merge(size_t statement, std::vector<size_t> parts,
                       const std::vector<SharedRow>& shared, int64_t bytes, int64_t instructions) {
  const size_t base = largest(parts);
  std::vector<Row> rows;
  for (const SharedRow& row : shared) {
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
        places.push_back({rows[r].number, place_of(member, number_in(parts, part, shared[r]))});
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
    row_places_[statement].push_back({rows[r].number, shared[r].left});
  }
  all.rows = std::move(rows);
  group_of_[statement] = target;
}

}  // namespace fusegrad::ir
