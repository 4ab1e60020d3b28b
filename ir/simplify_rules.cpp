// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The counters of the simplification rules as text.
#include "ir/simplify_rules.h"

#include <fmt/format.h>

namespace fusegrad::ir {

std::string counts_text(const RuleCounts& counts) {
  std::string text;
  for (const SimplifyRuleRow& row : simplify_rules) {
    if (counts.of(row.rule) == 0) continue;
    text += fmt::format("{:8} {}: {}\n", counts.of(row.rule), row.name, row.meaning);
  }
  return text;
}

}  // namespace fusegrad::ir
