// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Telling the user: diagnostics of the model file, failures of the run attached to their place in
// it, and output whose errors are not lost.
#pragma once

#include <string>

#include "driver/compile.h"
#include "runtime/core/error.h"

namespace fusegrad::driver {

/// FUSEGRAD_VERIFY=each
bool verify_each();

struct ModelOptions;
/// The request that all commands begin with.
CompileRequest request_for(const ModelOptions& model);

/// Prints all diagnostics, and the failure if there is one, to stderr.
void report_messages(const Messages& messages);

/// Prints the failure to stderr and returns its exit code.
int report_failure(const runtime::Failure& failure);
/// The same; a data failure is shown at the line of the model file where input and file meet.
int report_failure(const runtime::Failure& failure, const Compilation& compilation,
                   Messages& messages);

/// Writes to stdout and returns the exit code: usage if stdout cannot be written (a full disk, a
/// closed pipe).
int print_to_stdout(const std::string& text);

}  // namespace fusegrad::driver
