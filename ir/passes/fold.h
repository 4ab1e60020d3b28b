// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Local simplification of one expression.
#pragma once

#include <map>
#include <string>

#include "ir/expr.h"
#include "ir/linear_form.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// The value with the real type of `e`.
ExprRef real_like(double value, const ExprRef& e);

/// Values that the indices of an expression can take.
IndexRanges ranges_of(const std::vector<IndexRange>& indices,
                      const std::vector<IndexRange>& binders, int64_t batch);

/// The expression with constants folded, neutral operands dropped, integer arithmetic in normal
/// form, comparisons that the ranges decide replaced by their answer, division by a constant turned
/// into multiplication, and constant factors of a product collected on its right. Changes of
/// rounding: the last two, and constant folding in f64.
ExprRef fold(const ExprRef& e, const IndexRanges& ranges);

}  // namespace fusegrad::ir
