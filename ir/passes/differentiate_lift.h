// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A part of a statement's expression as a statement of its own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ir/expr.h"
#include "ir/linear_form.h"
#include "ir/passes/differentiate_scalar.h"
#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// 0 or false of the type.
ExprRef zero_of(Type type);

/// `statement` computes the part for all indices and binders that it depends on; inside the
/// original statement, `read` is the part.
struct LiftedPart {
  TensorStatement statement;
  ExprRef read;
};

/// Lifts `e`, which occurs in `from` where its condition and all of `path` hold; elsewhere the
/// lifted statement is 0 and evaluates nothing. Nothing is returned when a binder over rows does
/// not begin at 0 (its range is then no size).
std::optional<LiftedPart> lift_part(const TensorStatement& from, const ExprRef& e,
                                    const std::vector<PathLiteral>& path, const std::string& name,
                                    int64_t batch);

}  // namespace fusegrad::ir
