// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The short list of LLVM passes that our already scheduled code profits from.
#pragma once

#include <string_view>

#include "codegen/cpu/llvm_module.h"

namespace fusegrad::codegen {

/// The passes, in LLVM's notation.
std::string_view default_passes();

/// Runs `passes` over the module. No pass vectorises, inlines, contracts or reassociates real
/// arithmetic.
void optimize(LlvmModule& module, std::string_view passes = default_passes());

}  // namespace fusegrad::codegen
