// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Proofs that addresses of L are in bounds. Private to ir/loop.
#pragma once

#include <string>
#include <vector>

#include "ir/kernel/buffer_index.h"
#include "ir/loop/program.h"
#include "ir/loop/verify.h"

namespace fusegrad::ir {

/// Rule 8 for one function that keeps all other rules: appends violations, adds to `count`.
void check_addresses(const LoopProgram& program, const BufferIndex& buffers,
                     const LoopFunction& function, std::vector<std::string>& violations,
                     AddressCount& count);

}  // namespace fusegrad::ir
