// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Levenshtein's distance, one row at a time.
#include "runtime/core/nearest.h"

#include <algorithm>
#include <numeric>

namespace fusegrad::runtime {

size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::optional<std::string> nearest_name(std::string_view name,
                                        const std::vector<std::string>& candidates, size_t most) {
  constexpr size_t looked_at = 64;
  std::optional<std::string> nearest;
  size_t least = most + 1;
  for (const std::string& candidate : candidates) {
    const size_t found =
        edit_distance(name.substr(0, looked_at), std::string_view(candidate).substr(0, looked_at));
    if (found >= least) continue;
    least = found;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace fusegrad::runtime
