// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Whether a statement and some of the groups that it reads can be one group. Internal to the pass
// `group`.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/passes/group_table.h"

namespace fusegrad::ir {

/// A group that a statement reads.
struct JoinCandidate {
  size_t group;
  /// By left index of the statement: the group's row that it stands for, or none.
  std::vector<size_t> row_of_left;
  bool shares_rows = false;
  int64_t bytes = 0;  ///< that are not stored, and read, when they meet
};

struct JoinAttempt {
  bool possible = false;
  std::string reason;  ///< why not
  std::vector<GroupTable::SharedRow> rows;
};

class JoinCheck {
 public:
  /// Both outlive the check.
  JoinCheck(GroupTable& table, const GroupingLimits& limits) : table_(table), limits_(limits) {}

  /// `subset` are numbers of candidates, in order. With a reason that can be told, the obstacles
  /// are looked for in their order; without, the cheapest first.
  JoinAttempt attempt(size_t statement, const std::vector<JoinCandidate>& candidates,
                      const std::vector<size_t>& subset, bool reason_wanted);

  /// Of one point of each: the statement and what it would meet.
  int64_t instructions_with(size_t statement, const std::vector<size_t>& parts) const;
  /// Of a row of them all, if no member was stored.
  int64_t local_bytes(size_t statement, const std::vector<size_t>& parts,
                      const std::vector<GroupTable::SharedRow>& rows) const;

  /// Reads and rows looked at so far.
  int64_t steps() const { return steps_; }

 private:
  using SharedRow = GroupTable::SharedRow;
  using Read = GroupTable::Read;
  using Parts = std::vector<size_t>;
  static constexpr size_t none = GroupTable::none;

  std::vector<SharedRow> shared_rows(size_t statement, const std::vector<JoinCandidate>& candidates,
                                     const std::vector<size_t>& subset);
  /// Which of the parts each group is.
  static std::unordered_map<size_t, size_t> numbered(const Parts& parts);
  /// Calls `visit` on every read of one part's member by a member of another part.
  void for_each_read_between(
      const Parts& parts, const std::function<void(size_t reader, size_t reader_part,
                                                   const Read& read, size_t producer_part)>& visit);
  void remove_rows_read_otherwise(const Parts& parts, std::vector<SharedRow>& rows);
  int64_t demotion_factor(const Parts& parts, size_t part,
                          const std::vector<SharedRow>& remaining) const;
  int64_t row_bytes(size_t statement, const std::vector<SharedRow>& rows) const;
  std::string too_much_memory(size_t statement, const Parts& parts,
                              const std::vector<SharedRow>& rows, bool demotes);
  std::string rereads_too_much(size_t statement, const std::set<std::string>& rows,
                               const std::unordered_map<size_t, size_t>& part_of);
  std::string update_conflict(size_t statement, const Parts& parts,
                              const std::vector<SharedRow>& rows);

  GroupTable& table_;
  const GroupingLimits& limits_;
  int64_t steps_ = 0;
};

}  // namespace fusegrad::ir
