// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// "Did you mean ...?"
#pragma once

#include <span>
#include <string_view>

namespace fusegrad::frontend {

/// The candidate that is written most like `word`: at most a third of its letters, and at least
/// one, may differ (inserted, deleted, replaced, or two neighbours swapped). The first of equals;
/// empty if there is none, or if `word` is longer than 64 bytes. Letter case counts as half a
/// difference.
std::string_view most_similar(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace fusegrad::frontend
