// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running programs other than the tool: trainers that it made.
#pragma once

#include <string>
#include <vector>

#include "tests/driver/tool.h"

namespace fusegrad::test {

/// Runs the program with these arguments.
ToolRun run_program(const std::string& program, const std::vector<std::string>& arguments,
                    const std::string& standard_input = "");

}  // namespace fusegrad::test
