// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds the name that was probably meant, for the help lines of messages.
#include "frontend/similar.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace fusegrad::frontend {
namespace {

constexpr size_t longest_word = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Edit distance with swaps of neighbours, in halves: a letter of the other case costs 1, all
// else 2.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = 2 * i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = 2 * j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replace = a[i - 1] == b[j - 1] ? 0 : lower(a[i - 1]) == lower(b[j - 1]) ? 1 : 2;
      cost[i][j] = std::min({cost[i - 1][j] + 2, cost[i][j - 1] + 2, cost[i - 1][j - 1] + replace});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 2);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string_view most_similar(std::string_view word, std::span<const std::string_view> candidates) {
  if (word.size() > longest_word) return {};
  size_t allowed = std::max<size_t>(2, 2 * word.size() / 3);
  std::string_view best;
  size_t best_distance = allowed + 1;
  for (std::string_view candidate : candidates) {
    if (candidate.size() > longest_word || candidate == word) continue;
    size_t found = distance(word, candidate);
    bool shares_nothing = found >= 2 * std::max(word.size(), candidate.size());
    if (!shares_nothing && found < best_distance) {
      best = candidate;
      best_distance = found;
    }
  }
  return best;
}

}  // namespace fusegrad::frontend
