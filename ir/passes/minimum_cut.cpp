// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Dinic's maximum flow: shortest augmenting paths, level by level (Dinitz 1970).
#include "ir/passes/minimum_cut.h"

#include <algorithm>

#include "ir/support/check.h"

namespace fusegrad::ir {
namespace {

constexpr size_t unreached = SIZE_MAX;

}  // namespace

void FlowGraph::add_edge(size_t from, size_t to, int64_t capacity) {
  FG_CHECK(from < edges_of_.size() && to < edges_of_.size(), "an edge without its node");
  FG_CHECK(capacity >= 0, "a negative capacity");
  edges_of_[from].push_back(edges_.size());
  edges_.push_back({to, std::min(capacity, infinite)});
  edges_of_[to].push_back(edges_.size());
  edges_.push_back({from, 0});
}

bool FlowGraph::find_levels(size_t source, size_t sink) {
  level_.assign(edges_of_.size(), unreached);
  level_[source] = 0;
  std::vector<size_t> queue = {source};
  for (size_t head = 0; head < queue.size(); ++head) {
    const size_t node = queue[head];
    for (const size_t number : edges_of_[node]) {
      const Edge& edge = edges_[number];
      if (edge.left == 0 || level_[edge.to] != unreached) continue;
      level_[edge.to] = level_[node] + 1;
      queue.push_back(edge.to);
    }
  }
  return level_[sink] != unreached;
}

int64_t FlowGraph::augment(size_t source, size_t sink, int64_t limit) {
  std::vector<size_t> path;  // edges from the source to `node`
  size_t node = source;
  while (node != sink) {
    size_t& next = next_[node];
    bool advanced = false;
    for (; next < edges_of_[node].size(); ++next) {
      const size_t number = edges_of_[node][next];
      const Edge& edge = edges_[number];
      if (edge.left == 0 || level_[edge.to] != level_[node] + 1) continue;
      path.push_back(number);
      node = edge.to;
      advanced = true;
      break;
    }
    if (advanced) continue;
    if (path.empty()) return 0;
    // A dead end: the edge to it is not tried again in these levels.
    node = edges_[path.back() ^ 1].to;
    path.pop_back();
    ++next_[node];
  }
  int64_t amount = limit;
  for (const size_t number : path) amount = std::min(amount, edges_[number].left);
  for (const size_t number : path) {
    edges_[number].left -= amount;
    int64_t& reverse = edges_[number ^ 1].left;
    reverse = std::min(reverse + amount, infinite);
  }
  return amount;
}

FlowGraph::Cut FlowGraph::minimum_cut(size_t source, size_t sink) {
  FG_CHECK(source != sink, "the source is the sink");
  Cut cut;
  while (cut.capacity < infinite && find_levels(source, sink)) {
    next_.assign(edges_of_.size(), 0);
    while (cut.capacity < infinite) {
      const int64_t amount = augment(source, sink, infinite - cut.capacity);
      if (amount == 0) break;
      cut.capacity += amount;
    }
  }
  // What still reaches the sink, walked backwards.
  cut.on_sink_side.assign(edges_of_.size(), false);
  cut.on_sink_side[sink] = true;
  std::vector<size_t> work = {sink};
  while (!work.empty()) {
    const size_t node = work.back();
    work.pop_back();
    for (const size_t number : edges_of_[node]) {
      // The edge `number ^ 1` leads from the neighbour to this node.
      const size_t neighbour = edges_[number].to;
      if (edges_[number ^ 1].left == 0 || cut.on_sink_side[neighbour]) continue;
      cut.on_sink_side[neighbour] = true;
      work.push_back(neighbour);
    }
  }
  return cut;
}

}  // namespace fusegrad::ir
