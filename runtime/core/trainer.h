// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A shipped trainer's program: the job out of the file, the code that fits the processor, the run.
#pragma once

#include <span>
#include <string_view>

#include "runtime/core/cpu_features.h"
#include "runtime/core/job_table.h"
#include "runtime/core/shipped_job.h"

namespace fusegrad::runtime {

/// The variant with the most features among those that the processor has; null if it has none.
const CodeVariant* choose_variant(const std::vector<CodeVariant>& variants, const CpuIdentity& cpu);

/// Runs the trainer with the arguments of main. `job` is what shipped_bytes() made; `functions` are
/// those of all kernels of the first variant, then of the second, and so on. Returns the exit code;
/// ExitCode::device with a message when the processor has none of the variants' features.
int run_trainer(std::span<const char* const> arguments, std::string_view job,
                std::span<const KernelFunction> functions, const CpuIdentity& cpu = this_cpu());

}  // namespace fusegrad::runtime
