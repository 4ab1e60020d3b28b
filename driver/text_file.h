// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading texts that the user names.
#pragma once

#include <string>

#include "ir/support/result.h"

namespace fusegrad::driver {

/// Reads a whole regular file of at most 256 MiB, or the reason why not.
Result<std::string> read_text_file(const std::string& path);

/// All of standard input; fails beyond the same limit.
Result<std::string> read_standard_input();

}  // namespace fusegrad::driver
