// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What every generated function has, whatever its body: signature, attributes. And functions whose
// body is another one's.
#pragma once

#include <llvm/IR/Function.h>
#include <llvm/IR/Module.h>

#include <string>
#include <vector>

#include "codegen/cpu/llvm_module.h"

namespace fusegrad::codegen {

/// Whom a function is called by.
enum class FunctionUse : uint8_t {
  entry,   ///< the runtime
  shared,  ///< entries of this module, with a table of pointers of their own
};

/// void(void* const* buffers, const int64_t* uniforms, int64_t begin, int64_t end)
llvm::FunctionType* function_type(llvm::LLVMContext& context);

/// void SYMBOL(void* const* buffers, const int64_t* uniforms, int64_t begin, int64_t end), without
/// a body.
llvm::Function* create_function(llvm::Module& module, const std::string& symbol, FunctionUse use,
                                const CpuTarget& target);

/// The body of `entry`: calls `shared` with a table whose element k is the entry's buffer
/// `positions[k]`.
void emit_call_of_shared(llvm::Function& entry, llvm::Function& shared,
                         const std::vector<size_t>& positions);

}  // namespace fusegrad::codegen
