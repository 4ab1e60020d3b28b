// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A job as bytes: how the table reaches a trainer that is built without the compiler.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/error.h"
#include "runtime/core/job_table.h"

namespace fusegrad::runtime {

/// Machine code of all kernels for one kind of processor.
struct CodeVariant {
  std::string name;                   ///< "x86-64-v3"
  std::vector<std::string> features;  ///< that the processor must have (cpu_features.h)
};

/// What a trainer carries besides code.
struct ShippedJob {
  JobTable table;                     ///< functions are null
  std::vector<CodeVariant> variants;  ///< at least one
};

/// The job as bytes, without functions and without the path of the model file.
std::string shipped_bytes(const ShippedJob& job);

/// The reverse. The bytes lie in the trainer's file, which may have been cut or changed on its way:
/// length, checksum, version, every count and every enumerator are checked. Fails with
/// ExitCode::device.
Expected<ShippedJob> read_shipped_job(std::string_view bytes);

/// Kernels of all programs: as many functions belong to a variant.
size_t kernel_count(const JobTable& table);
/// Sets them in the order of programs, launches and kernels.
void set_functions(JobTable& table, std::span<const KernelFunction> functions);

}  // namespace fusegrad::runtime
