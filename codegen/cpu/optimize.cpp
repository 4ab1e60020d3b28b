// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The only place that runs LLVM's optimiser: a list chosen by measuring, because the default
// pipelines take several times as long and undo decisions of our schedule.
#include "codegen/cpu/optimize.h"

#include <llvm/Analysis/CGSCCPassManager.h>
#include <llvm/Analysis/LoopAnalysisManager.h>
#include <llvm/IR/PassManager.h>
#include <llvm/Passes/PassBuilder.h>

#include "codegen/cpu/llvm_state.h"
#include "ir/support/check.h"

namespace fusegrad::codegen {

std::string_view default_passes() {
  return "function("
         "sroa,early-cse,simplifycfg,instcombine<no-verify-fixpoint>,"
         "loop-mssa(licm),"
         "early-cse"
         ")";
}

void optimize(LlvmModule& module, std::string_view passes) {
  LlvmModule::State& state = module.state();
  llvm::PassBuilder builder(state.machine.get());
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::ModulePassManager manager;
  if (llvm::Error error = builder.parsePassPipeline(manager, passes)) {
    FG_UNREACHABLE("pass list `{}`: {}", passes, llvm::toString(std::move(error)));
  }
  manager.run(*state.module, modules);
}

}  // namespace fusegrad::codegen
