// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The typing rules of the scalar operators, in one place for parsers and verifiers.
#pragma once

#include <string>

#include "ir/expr.h"

namespace fusegrad::ir {

/// Checks operand count, operand types and the node's own type by the rules of its operator, one
/// level deep. Returns "" or a sentence without a full stop: "`/` needs reals, not i64". Reads,
/// indices, uniforms and variables are taken as they are (what a name stands for is not known
/// here), but the indices of a read must be i64. Vectors: operands and result have equal lanes,
/// except the condition of a select and the count of a shift, which may be scalar.
std::string type_mistake(const Expr& node);

/// Whether the type of a node is decided by its operands: everything but constants, names, reads,
/// conversions, random numbers, splat, iota, bit_cast.
bool type_follows_operands(Op op);

/// The type that a node with these operands has, given `op`, if type_follows_operands(op).
/// Meaningful only if type_mistake then finds nothing.
Type result_type(const Expr& node);

}  // namespace fusegrad::ir
