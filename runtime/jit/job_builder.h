// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From compiled L to the plain tables that the runtime executes.
#pragma once

#include <string>
#include <vector>

#include "ir/loop/program.h"
#include "ir/support/result.h"
#include "runtime/core/job_table.h"
#include "runtime/jit/jit.h"

namespace fusegrad::runtime {

/// Buffers, launches with the compiled functions, and results of one program. The table holds
/// pointers into `compiled`. Fails for what the runtime has no notion of (a buffer of i64, a
/// gradient as result), which only hand-written stage files can contain.
Result<ProgramTable> build_program_table(const ir::LoopProgram& program,
                                         const CompiledProgram& compiled);

/// The same for code that is elsewhere: `buffer_names` is the order of the pointer table
/// (codegen::buffer_table), and every KernelEntry::function is null.
Result<ProgramTable> build_program_table(const ir::LoopProgram& program,
                                         const std::vector<std::string>& buffer_names);

/// What the model says besides its programs.
struct JobSettings {
  std::string model_name;
  std::string model_file;
  std::string model_text;
  std::vector<DataEntry> data;
  TrainSettings train;
  std::vector<std::string> inputs_of_outputs;  ///< inputs that some output depends on
};

/// Inputs of all programs, each once, in order of first appearance.
Result<std::vector<InputEntry>> build_input_entries(const ir::LoopModule& module);

/// A table without programs.
Result<JobTable> build_job_table(const ir::LoopModule& module, const JobSettings& settings);

/// A job and the code it points into.
struct CompiledJob {
  JobTable table;
  std::vector<CompiledProgram> programs;  ///< in the order of table.programs
};

/// Compiles every program of the module, at the same time where the machine has the processors for
/// it, and builds the table.
Result<CompiledJob> build_job(const ir::LoopModule& module, const JobSettings& settings,
                              const JitOptions& options = {});

}  // namespace fusegrad::runtime
