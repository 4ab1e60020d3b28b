// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where an element of a buffer lies: the one place that knows layouts.
#pragma once

#include <vector>

#include "ir/expr.h"
#include "ir/kernel/program.h"

namespace fusegrad::ir {

/// Where element [indices] of a buffer lies.
struct ElementPosition {
  ExprRef row;  ///< of an input: the batch row, to be looked up in the row list; otherwise null
  int64_t row_size;  ///< of an input: elements of one row
  ExprRef position;  ///< elements from the start of the row (input) or of the buffer
};

/// `indices` are i64 expressions, one per dimension. Inputs lead with the batch dimension.
ElementPosition element_position(const Buffer& buffer, const std::vector<ExprRef>& indices);

}  // namespace fusegrad::ir
