// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Groups of a random graph, against a search through all edges.
#include "ir/passes/acyclic_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace fusegrad::ir {
namespace {

/// The same graph, with sets and no order.
struct Plain {
  std::vector<std::set<size_t>> before;  ///< by group as it was made
  std::vector<size_t> group_of;

  bool reaches(const std::set<size_t>& from, const std::set<size_t>& targets) const {
    std::set<size_t> seen;
    std::vector<size_t> work(from.begin(), from.end());
    while (!work.empty()) {
      const size_t group = work.back();
      work.pop_back();
      if (targets.contains(group)) return true;
      if (!seen.insert(group).second) continue;
      for (size_t made = 0; made < before.size(); ++made) {
        if (group_of[made] != group) continue;
        for (const size_t other : before[made]) {
          if (group_of[other] != group) work.push_back(group_of[other]);
        }
      }
    }
    return false;
  }

  bool would_be_cyclic(const std::vector<size_t>& parts, const std::vector<size_t>& extra) const {
    std::set<size_t> inside;
    for (const size_t part : parts) inside.insert(group_of[part]);
    std::set<size_t> outside;
    const auto add = [&](size_t other) {
      if (!inside.contains(group_of[other])) outside.insert(group_of[other]);
    };
    for (const size_t other : extra) add(other);
    for (size_t made = 0; made < before.size(); ++made) {
      if (!inside.contains(group_of[made])) continue;
      for (const size_t other : before[made]) add(other);
    }
    return reaches(outside, inside);
  }

  void merge(const std::vector<size_t>& parts, const std::vector<size_t>& extra) {
    const size_t survivor = group_of[parts[0]];
    for (const size_t part : parts) {
      const size_t group = group_of[part];
      std::replace(group_of.begin(), group_of.end(), group, survivor);
    }
    before[survivor].insert(extra.begin(), extra.end());
  }
};

TEST(AcyclicGroups, AnswersLikeASearchThroughAllEdges) {
  int cyclic = 0;
  int merged = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](size_t limit) { return static_cast<size_t>(random() % limit); };
    AcyclicGroups groups;
    Plain plain;
    for (size_t made = 0; made < 40; ++made) {
      std::vector<size_t> before;
      for (size_t i = below(4); i-- > 0 && made > 0;) before.push_back(below(made));
      EXPECT_EQ(groups.add(before), made);
      plain.before.emplace_back(before.begin(), before.end());
      plain.group_of.push_back(made);
      for (int attempt = 0; attempt < 3; ++attempt) {
        std::vector<size_t> parts;
        for (size_t i = 1 + below(3); i-- > 0;) {
          const size_t group = plain.group_of[below(made + 1)];
          if (std::find(parts.begin(), parts.end(), group) == parts.end()) parts.push_back(group);
        }
        std::vector<size_t> extra;
        for (size_t i = below(3); i-- > 0;) extra.push_back(below(made + 1));
        const bool expected = plain.would_be_cyclic(parts, extra);
        ASSERT_EQ(groups.would_be_cyclic(parts, extra), expected) << "seed " << seed;
        cyclic += expected ? 1 : 0;
        if (expected || below(2) == 0) continue;
        groups.merge(parts, extra);
        plain.merge(parts, extra);
        merged += parts.size() > 1 ? 1 : 0;
        for (size_t i = 0; i <= made; ++i) ASSERT_EQ(groups.find(i), plain.group_of[i]);
      }
    }
  }
  EXPECT_GT(cyclic, 500);
  EXPECT_GT(merged, 200);
}

TEST(AcyclicGroups, LooksAtTheShorterSide) {
  // A long chain, and beside each link a group that nothing waits for: is the link on a cycle with
  // it? Walks from the links would see all of the chain.
  AcyclicGroups groups;
  constexpr size_t length = 2000;
  size_t last = groups.add({});
  for (size_t i = 1; i < length; ++i) {
    const size_t link = groups.add({last});
    const size_t beside = groups.add({last});
    EXPECT_FALSE(groups.would_be_cyclic({link, beside}, {}));
    last = link;
  }
  EXPECT_LT(groups.steps(), static_cast<int64_t>(20 * length));
}

}  // namespace
}  // namespace fusegrad::ir
