// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is computed once for many elements, or once for a whole pass over data, costs nothing in
// f64.
#include "ir/passes/widen.h"

#include <utility>
#include <vector>

#include "ir/support/check.h"

namespace fusegrad::ir {

ExprRef widen(const ExprRef& e, const std::function<ExprRef(const ExprRef&)>& read) {
  if (e->op == Op::read) {
    ExprRef value = read ? read(e) : e;
    return value->type.scalar == ScalarType::f32 ? make_convert(ScalarType::f64, std::move(value))
                                                 : value;
  }
  FG_CHECK(e->op != Op::rand && e->op != Op::normal, "a random number cannot be widened");
  const bool narrow = e->type.scalar == ScalarType::f32;
  if (e->op == Op::constant && narrow) return make_real(e->real, ScalarType::f64);
  if (e->operands.empty()) return e;
  std::vector<ExprRef> operands;
  for (const ExprRef& operand : e->operands) operands.push_back(widen(operand, read));
  if (e->op == Op::convert && is_real(e->type.scalar)) {
    return is_real(operands[0]->type.scalar) ? operands[0]
                                             : make_convert(ScalarType::f64, operands[0]);
  }
  Expr node = *e;
  node.operands = std::move(operands);
  if (narrow) node.type.scalar = ScalarType::f64;
  return make_node(std::move(node));
}

}  // namespace fusegrad::ir
