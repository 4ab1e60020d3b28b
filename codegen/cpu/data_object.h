// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Data in an object file.
#pragma once

#include <vector>

#include "codegen/cpu/llvm_module.h"
#include "codegen/data_object.h"

namespace fusegrad::codegen {

/// The bytes of a relocatable object file for `target`. Equal input gives equal bytes.
std::vector<char> generate_data_object(const DataObject& data, const CpuTarget& target);

}  // namespace fusegrad::codegen
