// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What an LlvmModule holds. Only for the sources of codegen/cpu and runtime/jit.
#pragma once

#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>

#include "codegen/cpu/llvm_module.h"

namespace fusegrad::codegen {

struct LlvmModule::State {
  // Order matters: the module goes before the context it lives in.
  llvm::LLVMContext context;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::Module> module;
};

/// Code is tuned for no particular processor; what it may use is said by the features alone.
inline constexpr const char* target_cpu_name = "generic";

/// Once per process: registers the native target and the handlers of LLVM's fatal errors, which end
/// the process as our bug (or as out of memory) instead of calling abort.
void initialize_llvm();

/// The machine for JIT code and for objects alike: position independent, small code model, nothing
/// contracted.
std::unique_ptr<llvm::TargetMachine> make_target_machine(const CpuTarget& target);

}  // namespace fusegrad::codegen
