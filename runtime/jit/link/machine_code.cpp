// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// For programs that are linked with LLVM, such as the tests of the compiler.
#include "runtime/jit/llvm/machine_code.h"

namespace fusegrad::runtime {

Result<const MachineCode*> machine_code() { return fusegrad_machine_code(); }

}  // namespace fusegrad::runtime
