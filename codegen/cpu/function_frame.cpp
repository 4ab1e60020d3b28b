// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The signature and attributes of generated functions, and the call of a body that several kernels
// share.
#include "codegen/cpu/function_frame.h"

#include <llvm/IR/ConstantRange.h>
#include <llvm/IR/IRBuilder.h>

#include "codegen/cpu/llvm_state.h"

namespace fusegrad::codegen {

llvm::FunctionType* function_type(llvm::LLVMContext& context) {
  llvm::Type* pointer = llvm::PointerType::get(context, 0);
  llvm::Type* i64 = llvm::Type::getInt64Ty(context);
  return llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, pointer, i64, i64},
                                 false);
}

llvm::Function* create_function(llvm::Module& module, const std::string& symbol, FunctionUse use,
                                const CpuTarget& target) {
  llvm::LLVMContext& context = module.getContext();
  const bool is_shared = use == FunctionUse::shared;
  llvm::Function* function = llvm::Function::Create(
      function_type(context),
      is_shared ? llvm::Function::InternalLinkage : llvm::Function::ExternalLinkage, symbol,
      module);
  // A table on the caller's stack changes before the call, never during it.
  if (is_shared) function->addFnAttr(llvm::Attribute::NoInline);
  function->setDoesNotThrow();
  function->addFnAttr("target-cpu", target_cpu_name);
  function->addFnAttr("target-features", target.features);
  function->addFnAttr("prefer-vector-width", "256");
  constexpr const char* names[] = {"buffers", "uniforms", "begin", "end"};
  for (unsigned i = 0; i < 4; ++i) function->getArg(i)->setName(names[i]);
  for (unsigned i = 0; i < 2; ++i) {
    function->addParamAttr(i, llvm::Attribute::NoAlias);
    function->addParamAttr(i, llvm::Attribute::ReadOnly);
    function->addParamAttr(i, llvm::Attribute::NoCapture);
  }
  // Tasks are counted from 0, so `//` and `%` of task numbers need no correction of signs.
  llvm::ConstantRange not_negative(llvm::APInt(64, 0), llvm::APInt::getSignedMaxValue(64));
  for (unsigned i = 2; i < 4; ++i) {
    function->addParamAttr(i, llvm::Attribute::get(context, llvm::Attribute::Range, not_negative));
  }
  return function;
}

void emit_call_of_shared(llvm::Function& entry, llvm::Function& shared,
                         const std::vector<size_t>& positions) {
  llvm::LLVMContext& context = entry.getContext();
  llvm::Type* pointer = llvm::PointerType::get(context, 0);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "body", &entry));
  llvm::AllocaInst* table =
      builder.CreateAlloca(llvm::ArrayType::get(pointer, positions.size()), nullptr, "table");
  for (size_t k = 0; k < positions.size(); ++k) {
    llvm::Value* from = builder.CreateConstInBoundsGEP1_64(pointer, entry.getArg(0), positions[k]);
    llvm::Value* to = builder.CreateConstInBoundsGEP1_64(pointer, table, k);
    builder.CreateAlignedStore(builder.CreateAlignedLoad(pointer, from, llvm::Align(8)), to,
                               llvm::Align(8));
  }
  builder.CreateCall(&shared, {table, entry.getArg(1), entry.getArg(2), entry.getArg(3)});
  builder.CreateRetVoid();
}

}  // namespace fusegrad::codegen
