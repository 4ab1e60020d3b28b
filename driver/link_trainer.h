// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Objects and the runtime's archive become an executable, by the system's own compiler driver.
#pragma once

#include <string>
#include <vector>

#include "runtime/core/error.h"

namespace fusegrad::driver {

/// Links the object files with libfusegrad_core.a into `output`, which is replaced in one step when
/// all has gone well. The archive is taken from the folder FUSEGRAD_RUNTIME_DIR, or else from that
/// of this executable, or from ../lib/fusegrad beside it; the linker is the first of c++, g++ and
/// clang++ on PATH. Fails with ExitCode::device when one of them is missing or refuses, with
/// ExitCode::usage when `output` cannot be written.
runtime::Expected<runtime::Unit> link_trainer(const std::vector<std::vector<char>>& objects,
                                              const std::string& output);

/// The same for a shared library. `stub` is C text that is compiled into it; only names that begin
/// with `prefix` can be seen from outside.
runtime::Expected<runtime::Unit> link_library(const std::vector<std::vector<char>>& objects,
                                              const std::string& stub, const std::string& prefix,
                                              const std::string& output);

}  // namespace fusegrad::driver
