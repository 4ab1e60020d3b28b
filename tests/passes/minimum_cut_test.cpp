// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Minimum cuts against all cuts, and which one is taken where several are minimal.
#include "ir/passes/minimum_cut.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace fusegrad::ir {
namespace {

TEST(MinimumCut, TheNarrowestPlaceOfAChain) {
  FlowGraph graph(4);
  graph.add_edge(0, 1, 7);
  graph.add_edge(1, 2, 3);
  graph.add_edge(2, 3, 5);
  const FlowGraph::Cut cut = graph.minimum_cut(0, 3);
  EXPECT_EQ(cut.capacity, 3);
  EXPECT_EQ(cut.on_sink_side, (std::vector<bool>{false, false, true, true}));
}

TEST(MinimumCut, OfEqualCutsTheOneNearestToTheSink) {
  FlowGraph graph(4);
  for (size_t node = 0; node < 3; ++node) graph.add_edge(node, node + 1, 4);
  const FlowGraph::Cut cut = graph.minimum_cut(0, 3);
  EXPECT_EQ(cut.capacity, 4);
  EXPECT_EQ(cut.on_sink_side, (std::vector<bool>{false, false, false, true}));
}

TEST(MinimumCut, FlowIsSentBackWhereThatHelps) {
  // The shortest path 0-1-2-3 takes what two longer ones need.
  FlowGraph graph(6);
  graph.add_edge(0, 1, 1);
  graph.add_edge(1, 2, 1);
  graph.add_edge(2, 5, 1);
  graph.add_edge(0, 3, 1);
  graph.add_edge(3, 2, 1);
  graph.add_edge(1, 4, 1);
  graph.add_edge(4, 5, 1);
  EXPECT_EQ(graph.minimum_cut(0, 5).capacity, 2);
}

TEST(MinimumCut, AGraphWithoutAPathOrWithoutAFiniteCut) {
  FlowGraph none(3);
  none.add_edge(0, 1, 9);
  none.add_edge(2, 1, 9);
  EXPECT_EQ(none.minimum_cut(0, 2).capacity, 0);
  FlowGraph all(2);
  all.add_edge(0, 1, INT64_MAX);
  EXPECT_EQ(all.minimum_cut(0, 1).capacity, FlowGraph::infinite);
}

TEST(MinimumCut, IsTheLeastOfAllCuts) {
  std::mt19937 random(5);
  for (int attempt = 0; attempt < 300; ++attempt) {
    constexpr size_t nodes = 7;
    int64_t capacity[nodes][nodes] = {};
    FlowGraph graph(nodes);
    for (int edge = 0; edge < 16; ++edge) {
      const size_t from = random() % nodes;
      const size_t to = random() % nodes;
      const auto amount = static_cast<int64_t>(random() % 6);
      capacity[from][to] += amount;
      graph.add_edge(from, to, amount);
    }
    auto through = [&](const std::vector<bool>& on_sink_side) {
      int64_t sum = 0;
      for (size_t a = 0; a < nodes; ++a) {
        for (size_t b = 0; b < nodes; ++b) {
          if (!on_sink_side[a] && on_sink_side[b]) sum += capacity[a][b];
        }
      }
      return sum;
    };
    int64_t least = INT64_MAX;
    for (unsigned bits = 0; bits < 1U << nodes; ++bits) {
      std::vector<bool> side(nodes);
      for (size_t node = 0; node < nodes; ++node) side[node] = ((bits >> node) & 1) != 0;
      if (!side[0] && side[nodes - 1]) least = std::min(least, through(side));
    }
    const FlowGraph::Cut cut = graph.minimum_cut(0, nodes - 1);
    ASSERT_EQ(cut.capacity, least) << "attempt " << attempt;
    ASSERT_FALSE(cut.on_sink_side[0]);
    ASSERT_TRUE(cut.on_sink_side[nodes - 1]);
    ASSERT_EQ(through(cut.on_sink_side), least) << "attempt " << attempt;
  }
}

TEST(MinimumCut, ALongChainNeedsNoDeepStack) {
  constexpr size_t nodes = 200'000;
  FlowGraph graph(nodes);
  for (size_t node = 0; node + 1 < nodes; ++node) graph.add_edge(node, node + 1, 2);
  EXPECT_EQ(graph.minimum_cut(0, nodes - 1).capacity, 2);
}

}  // namespace
}  // namespace fusegrad::ir
