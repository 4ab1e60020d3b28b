// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs a command to its end and says how long that took.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fusegrad::bench {

struct ChildResult {
  bool succeeded = false;  ///< started and ended with status 0
  double seconds = 0.0;    ///< wall time from before the start to after the end
};

/// `command` is program and arguments; what it writes to stdout and stderr goes to the file
/// `output`.
ChildResult run_child(const std::vector<std::string>& command, const std::filesystem::path& output);

}  // namespace fusegrad::bench
