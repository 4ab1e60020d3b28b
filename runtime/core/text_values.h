// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Values that people and files write as text.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/core/error.h"

namespace fusegrad::runtime {

/// The whole text as a decimal number; nothing for anything else, or for what has no 64 bits.
std::optional<int64_t> whole_number(std::string_view text);

/// Adds "NAME=VALUE" to the map, where neither side is empty; the later one wins. `form` is how the
/// option describes it. Fails with ExitCode::usage: "--input takes NAME=FILE, not `x`".
Expected<Unit> add_assignment(std::string_view option, std::string_view form, std::string_view text,
                              std::map<std::string, std::string>& target);

}  // namespace fusegrad::runtime
