// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// stop_gradient and custom speak to differentiation only; everything after it sees their values.
#include "ir/passes/differentiate_scalar.h"
#include "ir/passes/passes.h"

namespace fusegrad::ir {

TensorProgram strip_gradient_marks(const TensorProgram& program) {
  TensorProgram result = program;
  for (TensorStatement& statement : result.statements) {
    statement.value = strip_marks(statement.value);
    if (statement.condition != nullptr) statement.condition = strip_marks(statement.condition);
  }
  return result;
}

}  // namespace fusegrad::ir
