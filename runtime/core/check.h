// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal invariants of the runtime: a failed check is our bug, never the user's; reported in
// every build.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

namespace fusegrad::runtime {

/// Prints "internal error", the message and the position in our source on stderr, then ends the
/// process with ExitCode::internal_error.
[[noreturn]] void report_runtime_bug(std::string_view file, int line, std::string_view message);

/// Says on stderr what there was no memory for, then ends the process with ExitCode::memory. For
/// the small allocations that nobody can go on without; the large ones return a Failure.
[[noreturn]] void end_without_memory(std::string_view what, int64_t bytes);

}  // namespace fusegrad::runtime

/// RUNTIME_CHECK(condition, "format", arguments...): the condition always holds unless we have a
/// bug.
#define RUNTIME_CHECK(condition, ...)                                                    \
  do {                                                                                   \
    if (!(condition)) [[unlikely]]                                                       \
      ::fusegrad::runtime::report_runtime_bug(                                           \
          __FILE__, __LINE__, "`" #condition "` is false: " + fmt::format(__VA_ARGS__)); \
  } while (false)
