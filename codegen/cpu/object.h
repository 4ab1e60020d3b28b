// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Machine code: an object file in memory, and its disassembly.
#pragma once

#include <string>
#include <vector>

#include "codegen/cpu/llvm_module.h"

namespace fusegrad::codegen {

/// Generates code: the bytes of a relocatable object file. Consumes the module (code generation
/// rewrites it).
std::vector<char> generate_object(LlvmModule& module);

/// Assembly text (Intel syntax) of every function of an object made for `target`, in order of
/// position. Jump targets are labels, constants are shown with their bits; no address that depends
/// on where the code is loaded occurs.
std::string disassemble(const std::vector<char>& object, const CpuTarget& target);

}  // namespace fusegrad::codegen
