// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Constants of an LLVM module: no assembler and no C compiler is needed to put data into an object.
#include "codegen/cpu/data_object.h"

#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>
#include <llvm/IR/GlobalVariable.h>

#include <memory>

#include "codegen/cpu/function_frame.h"
#include "codegen/cpu/llvm_state.h"
#include "codegen/cpu/object.h"

namespace fusegrad::codegen {

std::vector<char> generate_data_object(const DataObject& data, const CpuTarget& target) {
  auto state = std::make_unique<LlvmModule::State>();
  state->machine = make_target_machine(target);
  llvm::LLVMContext& context = state->context;
  state->module = std::make_unique<llvm::Module>(data.name, context);
  llvm::Module& module = *state->module;
  module.setTargetTriple(target.triple);
  module.setDataLayout(state->machine->createDataLayout());
  auto define = [&](const std::string& name, llvm::Constant* value) {
    // The module owns what is created in it.
    auto* variable = new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                              llvm::GlobalValue::ExternalLinkage, value, name);
    variable->setAlignment(llvm::Align(8));
  };
  auto number = [&](size_t value) {
    return llvm::ConstantInt::get(llvm::Type::getInt64Ty(context), value);
  };
  llvm::Type* pointer = llvm::PointerType::get(context, 0);
  std::vector<llvm::Constant*> functions;
  for (const std::string& symbol : data.functions) {
    functions.push_back(llvm::cast<llvm::Constant>(
        module.getOrInsertFunction(symbol, function_type(context)).getCallee()));
  }
  define(data.name, llvm::ConstantDataArray::getString(
                        context, llvm::StringRef(data.bytes.data(), data.bytes.size()), false));
  define(data.name + "_size", number(data.bytes.size()));
  define(data.name + "_functions",
         llvm::ConstantArray::get(llvm::ArrayType::get(pointer, functions.size()), functions));
  define(data.name + "_function_count", number(functions.size()));
  LlvmModule finished(std::move(state));
  return generate_object(finished);
}

}  // namespace fusegrad::codegen
