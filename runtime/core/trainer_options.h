// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The command line of a shipped trainer.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/core/apply_run.h"
#include "runtime/core/error.h"
#include "runtime/core/job_table.h"
#include "runtime/core/run.h"

namespace fusegrad::runtime {

/// What a trainer was asked for.
struct TrainerOptions {
  enum class Work : uint8_t { train, evaluate, predict };
  Work work = Work::train;
  RunOptions run;
  ApplyRun apply;
  std::optional<double> max_time;  ///< --max-time, in seconds
  bool help = false;
};

/// Reads the arguments after the program's name: `--name value`, `--name=value`, `-q`, `-h`. Of an
/// option given twice the last one holds. Fails with ExitCode::usage and one line: an unknown
/// option (with the nearest name), a value that is missing or no number in its range, an argument
/// that is no option, --weights without --eval-only or --predict or the other way round, --lr where
/// the optimizer has no such argument, and what is compiled into the trainer and cannot be chosen
/// any more (--batch).
Expected<TrainerOptions> parse_trainer_options(std::span<const char* const> arguments,
                                               const JobTable& job);

/// The text of --help: options with the model's own defaults, and the data that it reads.
/// `program` is the name by which it was called.
std::string trainer_help(std::string_view program, const JobTable& job);

}  // namespace fusegrad::runtime
