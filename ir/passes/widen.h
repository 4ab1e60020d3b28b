// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Real expressions computed in f64 instead of f32.
#pragma once

#include <functional>

#include "ir/expr.h"

namespace fusegrad::ir {

/// The same expression with all real arithmetic in f64. A read is replaced by what `read` returns
/// for it (of type f64 where the read is of f32); without `read` it is converted. Integers and
/// conditions on them stay as they are. Needs: no random numbers, no gradient marks.
ExprRef widen(const ExprRef& e, const std::function<ExprRef(const ExprRef&)>& read = nullptr);

}  // namespace fusegrad::ir
