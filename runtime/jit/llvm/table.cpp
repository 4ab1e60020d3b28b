// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of functions that LLVM is reached through.
#include "codegen/cpu/data_object.h"
#include "codegen/cpu/emit_llvm.h"
#include "codegen/cpu/object.h"
#include "codegen/cpu/optimize.h"
#include "runtime/jit/llvm/compile.h"
#include "runtime/jit/llvm/machine_code.h"

namespace fusegrad::runtime {
namespace {

std::vector<char> object(const ir::LoopProgram& program, const std::vector<std::string>& features,
                         const std::string& symbol_prefix) {
  codegen::EmitOptions options;
  options.symbol_prefix = symbol_prefix;
  codegen::LlvmModule code = codegen::emit_llvm(program, codegen::buffer_table(program),
                                                codegen::target_with_features(features), options);
  codegen::optimize(code);
  return codegen::generate_object(code);
}

std::vector<char> data_object(const codegen::DataObject& data) {
  return codegen::generate_data_object(data, codegen::target_with_features({}));
}

constexpr MachineCode table = {FUSEGRAD_VERSION, compile, object, data_object};

}  // namespace
}  // namespace fusegrad::runtime

extern "C" const fusegrad::runtime::MachineCode* fusegrad_machine_code() {
  return &fusegrad::runtime::table;
}
