// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The exit codes of every command and of every shipped trainer.
#pragma once

namespace fusegrad::runtime {

struct ExitCode {
  static constexpr int done = 0;
  static constexpr int answer_is_no = 1;  ///< ran, and what was asked is not so
  static constexpr int usage = 2;
  static constexpr int model_file = 3;
  static constexpr int data = 4;
  static constexpr int device = 5;      ///< device or tool chain unavailable
  static constexpr int numbers = 6;     ///< a loss or a weight is not finite
  static constexpr int checkpoint = 7;  ///< weights cannot be written, or do not fit the model
  static constexpr int memory = 8;
  static constexpr int internal_error = 70;  ///< our bug
  /// The exit code after a signal: 130 for SIGINT, 143 for SIGTERM.
  static constexpr int interrupted_by(int signal_number) { return 128 + signal_number; }
};

}  // namespace fusegrad::runtime
