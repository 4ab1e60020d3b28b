// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reporting of our own bugs: say so, show the IR under work, stop.
#include "ir/support/check.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fusegrad {
namespace {
// The one mutable global of the compiler: it is only read when the process is about to end.
thread_local BugContext* innermost_context = nullptr;
}  // namespace

BugContext::BugContext(std::function<std::string()> describe)
    : describe_(std::move(describe)), outer_(innermost_context) {
  innermost_context = this;
}

BugContext::~BugContext() { innermost_context = outer_; }

void report_internal_error(std::string_view file, int line, std::string_view message) {
  // Names below the source tree only: an absolute build path says nothing to a user.
  for (std::string_view top :
       {"/frontend/", "/ir/", "/codegen/", "/runtime/", "/driver/", "/tests/"}) {
    if (size_t at = file.rfind(top); at != std::string_view::npos) {
      file.remove_prefix(at + 1);
      break;
    }
  }
  fmt::print(stderr, "internal error: {}\n  at {}:{}\n", message, file, line);
  fmt::print(
      stderr,
      "This is a bug in fusegrad, not in your model. Please report it with the text below.\n");
  BugContext* context = innermost_context;
  innermost_context = nullptr;  // describing must not recurse into a second report of the same text
  if (context != nullptr) fmt::print(stderr, "{}\n", context->describe_());
  std::fflush(stderr);
  std::_Exit(internal_error_exit_code);
}

}  // namespace fusegrad
