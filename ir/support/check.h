// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Internal invariants: a failed check is our bug, never the user's; it is reported in every build.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>

namespace fusegrad {

/// Exit code of the process after a failed internal check.
inline constexpr int internal_error_exit_code = 70;

/// Prints "internal error", the message, the position in our source and the text given by the
/// innermost `BugContext` (normally the IR under work), then ends the process with
/// `internal_error_exit_code`.
[[noreturn]] void report_internal_error(std::string_view file, int line, std::string_view message);

/// While it lives, an internal error also prints what `describe` returns. Contexts nest; one thread
/// each.
class BugContext {
 public:
  explicit BugContext(std::function<std::string()> describe);
  ~BugContext();
  BugContext(const BugContext&) = delete;
  BugContext& operator=(const BugContext&) = delete;

 private:
  friend void report_internal_error(std::string_view, int, std::string_view);
  std::function<std::string()> describe_;
  BugContext* outer_;
};

}  // namespace fusegrad

/// FG_CHECK(condition, "format", arguments...): the condition always holds unless we have a bug.
#define FG_CHECK(condition, ...)                                                                   \
  do {                                                                                             \
    if (!(condition)) [[unlikely]]                                                                 \
      ::fusegrad::report_internal_error(__FILE__, __LINE__,                                        \
                                        "`" #condition "` is false: " + fmt::format(__VA_ARGS__)); \
  } while (false)

/// FG_UNREACHABLE("format", arguments...): this line is never reached unless we have a bug.
#define FG_UNREACHABLE(...) \
  ::fusegrad::report_internal_error(__FILE__, __LINE__, fmt::format(__VA_ARGS__))
