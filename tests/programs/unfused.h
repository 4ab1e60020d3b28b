// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T to K without any fusion: the reference that grouping is compared with.
#pragma once

#include "ir/kernel/program.h"
#include "ir/tensor/program.h"

namespace fusegrad::test {

/// One kernel a statement and one launch a kernel, in the order of the statements; then one launch
/// that copies results and one that copies updates in place. Results and updates keep their order.
ir::KernelProgram unfused(const ir::TensorProgram& program);

}  // namespace fusegrad::test
