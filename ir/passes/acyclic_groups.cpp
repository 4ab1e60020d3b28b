// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reachability by two walks that meet, and an order that is repaired where a merge disturbs it
// (after Pearce and Kelly 2007).
#include "ir/passes/acyclic_groups.h"

#include <algorithm>

#include "ir/support/check.h"

namespace fusegrad::ir {

size_t AcyclicGroups::find(size_t group) const {
  while (parent_[group] != group) {
    parent_[group] = parent_[parent_[group]];
    group = parent_[group];
  }
  return group;
}

size_t AcyclicGroups::add(const std::vector<size_t>& before) {
  const size_t group = parent_.size();
  parent_.push_back(group);
  place_.push_back(order_.size());
  order_.push_back(group);
  marked_in_.push_back(0);
  marks_.push_back(0);
  for (std::vector<Neighbours>& side : sides_) side.emplace_back();
  for (const size_t other : before) {
    sides_[backward][group].list.push_back(find(other));
    sides_[forward][find(other)].list.push_back(group);
  }
  return group;
}

const std::vector<size_t>& AcyclicGroups::neighbours(size_t group, Direction direction) {
  constexpr size_t small = 16;
  Neighbours& known = sides_[direction][group];
  if (known.list.size() <= small || known.list.size() <= 2 * known.clean_size) return known.list;
  steps_ += static_cast<int64_t>(known.list.size());
  for (size_t& other : known.list) other = find(other);
  std::sort(known.list.begin(), known.list.end());
  known.list.erase(std::unique(known.list.begin(), known.list.end()), known.list.end());
  std::erase(known.list, group);
  known.clean_size = known.list.size();
  return known.list;
}

void AcyclicGroups::mark(size_t group, int bit) {
  if (marked_in_[group] != round_) marks_[group] = 0;
  marked_in_[group] = round_;
  marks_[group] = static_cast<uint8_t>(marks_[group] | bit);
}

AcyclicGroups::Outcome AcyclicGroups::step(Walk& walk, size_t lowest, size_t highest) {
  const int mine = 1 << walk.direction;
  const int others = 3 - mine;
  while (walk.head < walk.queue.size()) {
    ++steps_;
    const size_t from = walk.queue[walk.head];
    const std::vector<size_t>& list = neighbours(from, walk.direction);
    if (walk.edge >= list.size()) {
      ++walk.head;
      walk.edge = 0;
      continue;
    }
    const size_t to = find(list[walk.edge++]);
    if (is_marked(to, part_bit)) {
      // Parts may wait for each other; who is outside and leads back to a part closes a cycle.
      if (!is_marked(from, part_bit)) return Outcome::met;
      return Outcome::going;
    }
    if (place_[to] < lowest || place_[to] > highest || is_marked(to, mine)) return Outcome::going;
    if (is_marked(to, others)) return Outcome::met;
    mark(to, mine);
    walk.queue.push_back(to);
    return Outcome::going;
  }
  return Outcome::ended;
}

bool AcyclicGroups::would_be_cyclic(const std::vector<size_t>& parts,
                                    const std::vector<size_t>& before) {
  ++round_;
  size_t lowest = SIZE_MAX;
  size_t highest = 0;
  Walk ancestors{backward, {}};
  Walk descendants{forward, {}};
  for (const size_t part : parts) {
    const size_t group = find(part);
    mark(group, part_bit);
    lowest = std::min(lowest, place_[group]);
    highest = std::max(highest, place_[group]);
    descendants.queue.push_back(group);
    if (parts.size() > 1) ancestors.queue.push_back(group);
  }
  for (const size_t other : before) {
    const size_t group = find(other);
    highest = std::max(highest, place_[group]);
    if (is_marked(group, part_bit) || is_marked(group, 1 << backward)) continue;
    if (place_[group] < lowest) continue;
    mark(group, 1 << backward);
    ancestors.queue.push_back(group);
  }
  while (true) {
    for (Walk* walk : {&ancestors, &descendants}) {
      const Outcome outcome = step(*walk, lowest, highest);
      if (outcome == Outcome::met) return true;
      if (outcome == Outcome::ended) return false;
    }
  }
}

void AcyclicGroups::mark_awaited(const std::vector<size_t>& parts,
                                 const std::vector<size_t>& before, size_t lowest) {
  ++round_;
  Walk walk{backward, {}};
  for (const size_t part : parts) {
    mark(find(part), part_bit);
    walk.queue.push_back(find(part));
  }
  for (const size_t other : before) {
    const size_t group = find(other);
    if (is_marked(group, part_bit) || place_[group] < lowest) continue;
    mark(group, 1 << backward);
    walk.queue.push_back(group);
  }
  Outcome outcome = Outcome::going;
  while (outcome == Outcome::going) outcome = step(walk, lowest, SIZE_MAX);
  FG_CHECK(outcome == Outcome::ended, "merged groups wait for each other");
}

void AcyclicGroups::merge(const std::vector<size_t>& parts, const std::vector<size_t>& before) {
  const size_t survivor = find(parts[0]);
  size_t lowest = place_[survivor];
  size_t highest = place_[survivor];
  for (const size_t part : parts) {
    lowest = std::min(lowest, place_[find(part)]);
    highest = std::max(highest, place_[find(part)]);
  }
  for (const size_t other : before) highest = std::max(highest, place_[find(other)]);
  if (lowest != highest) {
    // First what the merged group waits for, then itself, then the rest, each in their old order.
    mark_awaited(parts, before, lowest);
    steps_ += static_cast<int64_t>(highest - lowest);
    std::vector<size_t> first;
    std::vector<size_t> rest;
    for (size_t place = lowest; place <= highest; ++place) {
      const size_t group = order_[place];
      order_[place] = no_group;
      if (group == no_group || is_marked(group, part_bit)) continue;
      (is_marked(group, 1 << backward) ? first : rest).push_back(group);
    }
    first.push_back(survivor);
    first.insert(first.end(), rest.begin(), rest.end());
    for (size_t i = 0; i < first.size(); ++i) {
      order_[lowest + i] = first[i];
      place_[first[i]] = lowest + i;
    }
  }
  for (const size_t part : parts) {
    const size_t group = find(part);
    if (group == survivor) continue;
    parent_[group] = survivor;
    for (std::vector<Neighbours>& side : sides_) {
      Neighbours& from = side[group];
      Neighbours& to = side[survivor];
      if (from.list.size() > to.list.size()) std::swap(from, to);
      to.list.insert(to.list.end(), from.list.begin(), from.list.end());
      from = {};
    }
  }
  for (const size_t other : before) {
    const size_t group = find(other);
    if (group == survivor) continue;
    sides_[backward][survivor].list.push_back(group);
    sides_[forward][group].list.push_back(survivor);
  }
}

}  // namespace fusegrad::ir
