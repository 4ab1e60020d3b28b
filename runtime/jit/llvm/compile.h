// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L to functions that can be called, in this process.
#pragma once

#include "ir/loop/program.h"
#include "ir/support/result.h"
#include "runtime/jit/jit.h"

namespace fusegrad::runtime {

/// Needs a verified program with expanded functions. Fails when the operating system gives no
/// executable memory; everything else that goes wrong is our bug.
Result<CompiledProgram> compile(const ir::LoopProgram& program, const JitOptions& options = {});

}  // namespace fusegrad::runtime
