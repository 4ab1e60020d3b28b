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

/// Object files: one with the job's bytes and its table of functions, and one for each program and
/// variant. Linked with runtime/core's archive they are a trainer. A variant without features is
/// made for every processor of this kind. Fails as build_job does. Needs a verified module with
/// expanded functions.
Result<std::vector<std::vector<char>>> build_trainer_objects(
    const ir::LoopModule& module, const JobSettings& settings,
    const std::vector<CodeVariant>& variants);

}  // namespace fusegrad::runtime
