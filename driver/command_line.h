// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From arguments to a command.
#pragma once

namespace fusegrad::driver {

/// Runs the tool; returns its exit code.
int run(int argument_count, const char* const* arguments);

}  // namespace fusegrad::driver
