// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Move 2 of fusion: statements grouped by the row space that they share. Internal to the pass
// `group`.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/kernel/program.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// Thresholds of the cost rules (docs/ir.md). A merge that demotes row dimensions to row-local
/// arrays must keep `minimum_rows` rows, at most `local_bytes` of locals per row, and at most
/// `operand_bytes` of any operand that every row re-reads in full.
struct GroupingLimits {
  int64_t minimum_rows = 32;
  int64_t local_bytes = 16 * 1024;
  /// Of row-local values in every group: sixteen rows at a time fit into a thread's stack.
  int64_t stack_bytes = 256 * 1024;
  int64_t operand_bytes = 64 * 1024;
  /// Instructions of a point, loads included, of all statements of a group: a kernel is one
  /// function for LLVM, whose register allocation takes more than linear time, and what it could
  /// keep in registers ends long before.
  int64_t instructions = 4096;
};

/// Which statement must run before which: producers of its reads, and for an update's value every
/// reader of the old value of the target. Statements are numbers into TensorProgram::statements.
struct Dependences {
  std::vector<std::set<size_t>> before;  ///< all that must come before a statement
  std::vector<std::set<size_t>>
      readers;                ///< of an update's value: the readers of the old value among `before`
  std::vector<size_t> order;  ///< a topological order, as near to the text's order as possible
};
Dependences dependences(const TensorProgram& program);

/// One row dimension: its extent, and for every member the position among the member's left
/// indices.
struct RowDimension {
  Extent extent;
  std::map<size_t, size_t> position;
};

struct RowGroup {
  std::vector<size_t> members;  ///< in topological order
  std::vector<RowDimension> rows;
};

struct Grouping {
  std::vector<RowGroup> groups;
  std::vector<size_t> group_of;  ///< by statement
  std::vector<FusionRemark> remarks;
  int64_t steps = 0;  ///< of the search: a measure of work that is the same in every run
};
Grouping group_rows(const TensorProgram& program, const Dependences& dependences,
                    const GroupingLimits& limits);

/// What `group` does, with its steps: for passes that ask how a program would be grouped.
struct GroupedProgram {
  TensorProgram separated;  ///< the program, and after its statements copies that roots need
  Grouping grouping;        ///< of `separated`
  KernelProgram kernels;
};
GroupedProgram group_in_steps(const TensorProgram& program);

}  // namespace fusegrad::ir
