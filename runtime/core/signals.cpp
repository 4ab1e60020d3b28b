// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The handler sets a flag and nothing else; loops poll it.
#include "runtime/core/signals.h"

#include <unistd.h>

#include "runtime/core/exit_codes.h"

namespace fusegrad::runtime {

namespace {

// A handler has no other way to reach anybody.
StopSignal stop_flag{0};
static_assert(StopSignal::is_always_lock_free);

void on_signal(int number) {
  if (stop_flag.exchange(number) != 0) _exit(ExitCode::interrupted_by(number));
}

struct sigaction install(int number) {
  struct sigaction previous = {};
  struct sigaction action = {};
  action.sa_handler = on_signal;
  // Reads and writes that are under way go on: the step is finished and the state saved.
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(number, nullptr, &previous);
  if (previous.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  return previous;
}

}  // namespace

StopOnSignal::StopOnSignal() : interrupt_(), terminate_() {
  stop_flag.store(0);
  interrupt_ = install(SIGINT);
  terminate_ = install(SIGTERM);
}

StopOnSignal::~StopOnSignal() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

const StopSignal& StopOnSignal::stop() const { return stop_flag; }

}  // namespace fusegrad::runtime
