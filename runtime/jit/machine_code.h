// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The seam between the tool and LLVM. Most commands make no machine code, and mapping LLVM into a
// process takes longer than checking a model file; so what needs LLVM is a module of its own,
// opened at first need, and this table of functions is all that is called in it.
#pragma once

#include <string>
#include <vector>

#include "codegen/data_object.h"
#include "ir/loop/program.h"
#include "ir/support/result.h"
#include "runtime/jit/jit.h"

namespace fusegrad::runtime {

/// From a verified program with expanded functions to machine code. Types of C++ cross the seam:
/// both sides are built together.
struct MachineCode {
  /// FUSEGRAD_VERSION of the sources that the module was made of. Stays the first member: it is
  /// read before anything else is believed.
  const char* version;
  /// Code in this process. Fails when the operating system gives no executable memory; everything
  /// else that goes wrong is our bug. Callable from several threads at once.
  Result<CompiledProgram> (*compile)(const ir::LoopProgram& program, const JitOptions& options);
  /// An object file for a machine of this kind with exactly these features (LLVM's names), whose
  /// symbols are `codegen::symbol_names(program, symbol_prefix)`.
  std::vector<char> (*object)(const ir::LoopProgram& program,
                              const std::vector<std::string>& features,
                              const std::string& symbol_prefix);
  /// An object file with data, for every machine of this kind.
  std::vector<char> (*data_object)(const codegen::DataObject& data);
};

/// The table. The tool opens the module (runtime/jit/load); programs that are linked with LLVM have
/// it at hand (runtime/jit/llvm). Fails when the module is not there, cannot be opened, or belongs
/// to another version. Callable from any thread; costs little after the first time.
Result<const MachineCode*> machine_code();

/// The one symbol of the module: a `const MachineCode* ()` with C linkage.
inline constexpr const char* machine_code_symbol = "fusegrad_machine_code";

}  // namespace fusegrad::runtime
