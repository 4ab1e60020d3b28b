// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// LLVM's set-up: which machine, and what happens when LLVM itself gives up.
#include <llvm/ADT/StringMap.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/ErrorHandling.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/Triple.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "codegen/cpu/llvm_state.h"
#include "ir/support/check.h"

namespace fusegrad::codegen {
namespace {

/// Exit code of the process when memory runs out.
constexpr int out_of_memory_exit_code = 8;

void on_fatal_error(void*, const char* reason, bool) {
  report_internal_error(__FILE__, __LINE__, std::string("LLVM gave up: ") + reason);
}

void on_bad_alloc(void*, const char*, bool) {
  std::fputs("error: out of memory while generating code\n", stderr);
  std::_Exit(out_of_memory_exit_code);
}

std::string feature_text(const std::map<std::string, bool>& features) {
  std::string text;
  for (const auto& [name, on] : features) {
    if (!text.empty()) text += ',';
    text += (on ? '+' : '-') + name;
  }
  return text;
}

std::map<std::string, bool> host_features() {
  std::map<std::string, bool> features;  // sorted: the text is part of cache keys
  for (const auto& feature : llvm::sys::getHostCPUFeatures()) {
    features[feature.getKey().str()] = feature.getValue();
  }
  return features;
}

}  // namespace

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetDisassembler();
    llvm::install_fatal_error_handler(on_fatal_error);
    llvm::install_bad_alloc_error_handler(on_bad_alloc);
  });
}

CpuTarget host_target() {
  CpuTarget target;
  target.triple = llvm::sys::getProcessTriple();
  target.features = feature_text(host_features());
  return target;
}

CpuTarget baseline_target() { return target_with_features({}); }

CpuTarget target_with_features(const std::vector<std::string>& names) {
  CpuTarget target;
  target.triple = llvm::sys::getProcessTriple();
  // Only there are features named for machines other than this one.
  if (!llvm::Triple(target.triple).isX86()) return host_target();
  std::map<std::string, bool> features = host_features();
  for (auto& [name, on] : features) {
    // These belong to every x86-64.
    on = on && (name == "sse2" || name == "cx8" || name == "cmov" || name == "fxsr" ||
                name == "mmx" || name == "64bit" || name == "sse");
  }
  for (const std::string& name : names) features[name] = true;
  target.features = feature_text(features);
  return target;
}

std::unique_ptr<llvm::TargetMachine> make_target_machine(const CpuTarget& target) {
  initialize_llvm();
  std::string problem;
  const llvm::Target* native = llvm::TargetRegistry::lookupTarget(target.triple, problem);
  FG_CHECK(native != nullptr, "no LLVM target for {}: {}", target.triple, problem);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  // One text section in a fixed order, so that equal modules give equal objects.
  options.FunctionSections = false;
  options.DataSections = false;
  llvm::CodeGenOptLevel level = llvm::CodeGenOptLevel::Less;
  switch (target.level) {
    case CodegenLevel::none:
      level = llvm::CodeGenOptLevel::None;
      break;
    case CodegenLevel::less:
      level = llvm::CodeGenOptLevel::Less;
      break;
    case CodegenLevel::normal:
      level = llvm::CodeGenOptLevel::Default;
      break;
    case CodegenLevel::aggressive:
      level = llvm::CodeGenOptLevel::Aggressive;
      break;
  }
  std::unique_ptr<llvm::TargetMachine> machine(
      native->createTargetMachine(target.triple, target_cpu_name, target.features, options,
                                  llvm::Reloc::PIC_, llvm::CodeModel::Small, level, /*JIT=*/true));
  FG_CHECK(machine != nullptr, "no target machine for {}", target.triple);
  return machine;
}

LlvmModule::LlvmModule(std::unique_ptr<State> state) : state_(std::move(state)) {}
LlvmModule::LlvmModule(LlvmModule&&) noexcept = default;
LlvmModule& LlvmModule::operator=(LlvmModule&&) noexcept = default;
LlvmModule::~LlvmModule() = default;

std::string LlvmModule::text() const {
  std::string text;
  llvm::raw_string_ostream stream(text);
  state_->module->print(stream, nullptr);
  return text;
}

}  // namespace fusegrad::codegen
