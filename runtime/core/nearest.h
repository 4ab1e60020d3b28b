// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// "Did you mean": the known name that is nearest to one that is not.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fusegrad::runtime {

/// Insertions, deletions and replacements that turn one word into the other.
size_t edit_distance(std::string_view left, std::string_view right);

/// The candidate with the smallest distance, if that is at most `most`; of equals the first. Of
/// long names only the first 64 bytes are looked at.
std::optional<std::string> nearest_name(std::string_view name,
                                        const std::vector<std::string>& candidates, size_t most);

}  // namespace fusegrad::runtime
