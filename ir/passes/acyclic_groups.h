// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A graph of groups that wait for each other, which stays without a cycle while groups are made and
// merged. Internal to the pass `group`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fusegrad::ir {

/// Groups are numbered from 0 in the order in which they are made; a merged one answers to the
/// number of the one that remains. They are kept in an order in which every group comes after all
/// that it waits for: a question looks only between the places of those that it is about, from both
/// ends at once, so that it costs what the shorter side holds.
class AcyclicGroups {
 public:
  /// A new group that waits for these.
  size_t add(const std::vector<size_t>& before);

  /// Would there be a cycle if `parts` were one group that also waits for `before`? A single part
  /// is on no cycle by itself. `before` may name parts.
  bool would_be_cyclic(const std::vector<size_t>& parts, const std::vector<size_t>& before);

  /// Makes it so: parts[0] remains. There must be no cycle.
  void merge(const std::vector<size_t>& parts, const std::vector<size_t>& before);

  /// The group that this number stands for now.
  size_t find(size_t group) const;

  /// Neighbours looked at so far, a measure of work that is the same in every run.
  int64_t steps() const { return steps_; }

 private:
  enum Direction : uint8_t { backward, forward };
  struct Neighbours {
    std::vector<size_t> list;  ///< may hold numbers of merged groups, twice or the group itself
    size_t clean_size = 0;     ///< of the list when it was last cleaned
  };
  /// A walk in one direction: groups to be looked at, and how far the first of them is.
  struct Walk {
    Direction direction;
    std::vector<size_t> queue;
    size_t head = 0;
    size_t edge = 0;
  };
  enum class Outcome : uint8_t { going, ended, met };

  const std::vector<size_t>& neighbours(size_t group, Direction direction);
  Outcome step(Walk& walk, size_t lowest, size_t highest);
  /// All groups at places from `lowest` on that the parts or `before` wait for, marked as seen by
  /// walks backward.
  void mark_awaited(const std::vector<size_t>& parts, const std::vector<size_t>& before,
                    size_t lowest);
  bool is_marked(size_t group, int bit) const {
    return marked_in_[group] == round_ && (marks_[group] & bit) != 0;
  }
  void mark(size_t group, int bit);

  static constexpr size_t no_group = SIZE_MAX;
  static constexpr int part_bit = 4;

  mutable std::vector<size_t> parent_;
  std::vector<Neighbours> sides_[2];  ///< by direction
  std::vector<size_t> place_;         ///< in order_, of groups that were not merged into others
  std::vector<size_t> order_;         ///< no_group where one was merged away
  std::vector<uint64_t> marked_in_;
  std::vector<uint8_t> marks_;
  uint64_t round_ = 0;
  int64_t steps_ = 0;
};

}  // namespace fusegrad::ir
