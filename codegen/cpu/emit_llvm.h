// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L to LLVM, statement by statement: the bits are L's, the loops and vectors are L's; nothing is
// decided here.
#pragma once

#include <string>
#include <vector>

#include "codegen/calling_convention.h"
#include "codegen/cpu/llvm_module.h"
#include "ir/loop/program.h"

namespace fusegrad::codegen {

struct EmitOptions {
  /// Name the LLVM values after the L names (for text; costs a little time, changes no
  /// instruction).
  bool value_names = false;
  /// Of every external symbol.
  std::string symbol_prefix;
};

/// One external function per function of the program:
///   void f(void* const* buffers, const int64_t* uniforms, int64_t begin, int64_t end)
/// which runs tasks [begin, end). `buffers` is in the order of `buffer_names`, every pointer at
/// least 64-byte aligned except those of inputs. Needs: a verified program in which functions
/// (exp, log, ...) are expanded. A function parameter must be in `buffer_names`.
LlvmModule emit_llvm(const ir::LoopProgram& program, const std::vector<std::string>& buffer_names,
                     const CpuTarget& target, const EmitOptions& options = {});

}  // namespace fusegrad::codegen
