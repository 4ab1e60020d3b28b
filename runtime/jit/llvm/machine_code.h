// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the module of LLVM exports.
#pragma once

#include "runtime/jit/machine_code.h"

/// The table; the name is `machine_code_symbol`.
extern "C" const fusegrad::runtime::MachineCode* fusegrad_machine_code();
