// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The standard library, which is a file in the language and travels inside the tool.
#pragma once

#include <string_view>

namespace fusegrad::frontend {

/// What messages call it.
inline constexpr std::string_view library_file_name = "library.fg";

/// The text of frontend/library.fg as it was when the tool was built.
std::string_view library_text();

}  // namespace fusegrad::frontend
