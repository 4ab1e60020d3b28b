// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The minimum cut of a small graph with integer capacities, by maximum flow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fusegrad::ir {

/// A directed graph between a source and a sink. The answer depends on the order of the edges in
/// nothing: among all minimum cuts it is the one nearest to the sink.
class FlowGraph {
 public:
  /// No minimum cut goes through such an edge unless every cut does.
  static constexpr int64_t infinite = INT64_MAX / 4;

  /// A graph of that many nodes, numbered from 0, without edges.
  explicit FlowGraph(size_t nodes) : edges_of_(nodes) {}

  /// Adds an edge; `capacity` is not negative and counts as `infinite` beyond it.
  void add_edge(size_t from, size_t to, int64_t capacity);

  struct Cut {
    /// Sum of the capacities of the edges from the source's side to the sink's, at most `infinite`:
    /// then there is no finite cut.
    int64_t capacity = 0;
    std::vector<bool> on_sink_side;  ///< by node
  };
  /// The minimum cut that leaves as few nodes as possible on the sink's side. Needs source != sink.
  /// Dinic's algorithm, without recursion: the graph of a program is as deep as the program is
  /// long.
  Cut minimum_cut(size_t source, size_t sink);

 private:
  struct Edge {
    size_t to;
    int64_t left;  ///< capacity that no flow uses yet
  };
  /// Distance from the source over edges with capacity left; false if the sink is out of reach.
  bool find_levels(size_t source, size_t sink);
  /// One path of the levels, filled up; the amount.
  int64_t augment(size_t source, size_t sink, int64_t limit);

  std::vector<Edge> edges_;  ///< edge and reverse edge side by side: 2k and 2k + 1
  std::vector<std::vector<size_t>> edges_of_;
  std::vector<size_t> level_;
  std::vector<size_t> next_;  ///< by node: the first edge that may still lead to the sink
};

}  // namespace fusegrad::ir
