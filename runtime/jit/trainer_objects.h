// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From L to the object files of a shipped trainer. The same code generation as in this process, so
// the same bits.
#pragma once

#include <string>
#include <vector>

#include "ir/loop/program.h"
#include "ir/support/result.h"
#include "runtime/core/shipped_job.h"
#include "runtime/jit/job_builder.h"

namespace fusegrad::runtime {

/// What shipped code is made of.
struct TrainerObjects {
  std::vector<std::vector<char>> objects;
  JobTable table;  ///< functions are null
};

/// Object files: one with the job's bytes and its table of functions, and one for each program and
/// variant. Linked with runtime/core's archive they are a trainer. A variant without features is
/// made for every processor of this kind. Fails as build_job does. Needs a verified module with
/// expanded functions.
Result<TrainerObjects> build_trainer_objects(const ir::LoopModule& module,
                                             const JobSettings& settings,
                                             const std::vector<CodeVariant>& variants);

/// The name of the object with the job's bytes (codegen/cpu/data_object.h).
inline constexpr const char* job_symbol = "fusegrad_job";

}  // namespace fusegrad::runtime
