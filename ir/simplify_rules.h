// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rules of the simplifier by name, and counters of how often each one was applied.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fusegrad::ir {

enum class SimplifyRule : uint8_t {
#define SIMPLIFY_RULE(identifier, name, meaning) identifier,
#include "ir/simplify_rules.def"
#undef SIMPLIFY_RULE
};

struct SimplifyRuleRow {
  SimplifyRule rule;
  std::string_view name;     ///< "times-one"
  std::string_view meaning;  ///< "x * 1.0 -> x"
};

/// All rules, in the order of the enumeration.
inline constexpr std::array simplify_rules = {
#define SIMPLIFY_RULE(identifier, name, meaning) \
  SimplifyRuleRow{SimplifyRule::identifier, name, meaning},
#include "ir/simplify_rules.def"
#undef SIMPLIFY_RULE
};

/// How often each rule was applied. Rules that work on normal forms are also counted where a pass
/// only asks a question about one (is this read in range?).
class RuleCounts {
 public:
  void add(SimplifyRule rule, int64_t times = 1) { counts_[static_cast<size_t>(rule)] += times; }
  int64_t of(SimplifyRule rule) const { return counts_[static_cast<size_t>(rule)]; }

 private:
  std::array<int64_t, simplify_rules.size()> counts_ = {};
};

/// For code that may be asked to count.
inline void count(RuleCounts* counts, SimplifyRule rule) {
  if (counts != nullptr) counts->add(rule);
}

/// A line for each rule that was applied: count, name, meaning.
std::string counts_text(const RuleCounts& counts);

}  // namespace fusegrad::ir
