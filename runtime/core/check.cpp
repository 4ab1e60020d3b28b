// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A shipped trainer must say that it is broken rather than go on with wrong numbers; it has only
// this folder to do so.
#include "runtime/core/check.h"

#include <cstdio>
#include <cstdlib>

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

void report_runtime_bug(std::string_view file, int line, std::string_view message) {
  fmt::print(stderr, "internal error: {}\n  at {}:{}\n", message, file, line);
  std::fflush(stderr);
  std::_Exit(ExitCode::internal_error);
}

void end_without_memory(std::string_view what, int64_t bytes) {
  fmt::print(stderr, "error: no memory for {}: {} bytes\n", what, bytes);
  std::fflush(stderr);
  std::_Exit(ExitCode::memory);
}

}  // namespace fusegrad::runtime
