// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ctrl-C and `kill` ask a run to stop; they do not end it where it stands.
#pragma once

#include <csignal>

#include "runtime/core/column.h"

namespace fusegrad::runtime {

/// While it lives, the first SIGINT or SIGTERM sets `stop()` to its number, and a second one ends
/// the process at once with exit code 128 + number. What was ignored when it began stays ignored.
/// One at a time.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  const StopSignal& stop() const;

 private:
  struct sigaction interrupt_;
  struct sigaction terminate_;
};

}  // namespace fusegrad::runtime
