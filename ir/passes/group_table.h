// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What grouping knows of statements, and of groups while they grow. Internal to the pass `group`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/passes/acyclic_groups.h"
#include "ir/passes/row_groups.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// Statements are asked for by number. Each is read once, and what is known of a group is kept
/// while it grows, because looking through its members for every reader would make grouping
/// quadratic. When groups merge, only the members of the smaller ones are looked at.
class GroupTable {
 public:
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
  struct Group {
    size_t label = 0;             ///< in the order in which groups were made; the oldest of merged
    std::vector<size_t> members;  ///< in no particular order
    std::vector<size_t> reductions;  ///< those of the members
    std::vector<Row> rows;
    int64_t local_bytes = 0;  ///< of a row, if all members were local
    int64_t instructions = 0;
  };
  /// A row that a statement shares with some groups.
  struct SharedRow {
    Extent extent;
    size_t left;               ///< its place among the left indices of the statement
    std::vector<size_t> rows;  ///< for each of the groups: which of its rows
  };

  /// Both outlive the table.
  GroupTable(const TensorProgram& program, const Dependences& dependences);

  const TensorStatement& statement(size_t statement) const {
    return program_.statements[statement];
  }
  size_t statement_count() const { return program_.statements.size(); }
  const Dependences& dependences() const { return dependences_; }
  const std::vector<Read>& reads(size_t statement) const { return reads_[statement]; }
  /// The statements that read what it makes, each as often as it reads it.
  const std::vector<size_t>& readers(size_t statement) const { return readers_[statement]; }
  /// The tensor whose new value it is, or null.
  const std::string* updated_by(size_t statement) const { return updated_by_[statement]; }
  /// Its place in topological order.
  size_t rank(size_t statement) const { return rank_[statement]; }

  /// None while it was not placed.
  size_t group_of(size_t statement) const { return group_of_[statement]; }
  /// Groups that were merged into others stay behind empty.
  const Group& group(size_t group) const { return groups_[group]; }
  size_t group_count() const { return groups_.size(); }
  /// The position of the group's row among the member's left indices.
  size_t place_of(size_t member, size_t row) const;
  const std::string& row_name(size_t member, size_t row) const {
    return statement(member).indices[place_of(member, row)].name;
  }
  /// The number by which members of the part know the shared row.
  size_t number_in(const std::vector<size_t>& parts, size_t part, const SharedRow& row) const {
    return groups_[parts[part]].rows[row.rows[part]].number;
  }
  /// Which of the parts has most members.
  size_t largest(const std::vector<size_t>& parts) const;
  /// Would groups wait for each other if the parts and the statement were one?
  bool would_be_cyclic(const std::vector<size_t>& parts, size_t statement) {
    return graph_.would_be_cyclic(parts, groups_before(statement));
  }

  /// The statement by itself.
  void found(size_t statement, int64_t instructions);
  /// The statement and the parts, with these rows; bytes and instructions are those of all.
  void merge(size_t statement, std::vector<size_t> parts, const std::vector<SharedRow>& shared,
             int64_t bytes, int64_t instructions);

  /// Of the questions about cycles.
  int64_t steps() const { return graph_.steps(); }

 private:
  struct RowPlace {
    size_t row;
    size_t position;
  };

  std::vector<size_t> groups_before(size_t statement) const;

  const TensorProgram& program_;
  const Dependences& dependences_;
  std::vector<std::vector<Read>> reads_;
  std::vector<std::vector<size_t>> readers_;
  std::vector<const std::string*> updated_by_;
  std::vector<std::vector<RowPlace>> row_places_;  ///< of rows of its group, and of former ones
  std::vector<Group> groups_;
  std::vector<size_t> group_of_;
  std::vector<size_t> rank_;
  AcyclicGroups graph_;  ///< of the groups
};

}  // namespace fusegrad::ir
