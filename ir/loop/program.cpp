// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Look-ups and makers of L.
#include "ir/loop/program.h"

#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {

const LoopFunction* LoopProgram::find_function(std::string_view function) const {
  for (const LoopFunction& candidate : functions) {
    if (candidate.name == function) return &candidate;
  }
  return nullptr;
}

const Buffer* LoopProgram::find_buffer(std::string_view buffer) const {
  for (const Buffer& candidate : buffers) {
    if (candidate.name == buffer) return &candidate;
  }
  return nullptr;
}

LoopProgram* LoopModule::find(std::string_view name) {
  for (LoopProgram& program : programs) {
    if (program.name == name) return &program;
  }
  return nullptr;
}

const LoopProgram* LoopModule::find(std::string_view name) const {
  return const_cast<LoopModule*>(this)->find(name);
}

ExprRef make_variable(std::string_view name, Type type) {
  Expr node;
  node.op = Op::variable;
  node.type = type;
  node.name = name;
  return make_node(std::move(node));
}

ExprRef make_load(std::string_view buffer, ScalarType stored, ExprRef address, int lanes) {
  FG_CHECK(address->type.scalar == ScalarType::i64, "address of `{}` has type {}", buffer,
           spelling(address->type));
  FG_CHECK(lanes == 1 || address->type.lanes == 1 || address->type.lanes == lanes,
           "load of {} lanes with an address of {}", lanes, spelling(address->type));
  Expr node;
  node.op = Op::read;
  node.type = {stored, std::max(lanes, address->type.lanes)};
  node.name = buffer;
  node.operands = {std::move(address)};
  return make_node(std::move(node));
}

ExprRef make_splat(ExprRef scalar, int lanes) {
  FG_CHECK(scalar->type.lanes == 1, "splat of {}", spelling(scalar->type));
  if (lanes == 1) return scalar;
  Expr node;
  node.op = Op::splat;
  node.type = {scalar->type.scalar, lanes};
  node.operands = {std::move(scalar)};
  return make_node(std::move(node));
}

ExprRef make_iota(int lanes) {
  Expr node;
  node.op = Op::iota;
  node.type = {ScalarType::i64, lanes};
  return make_node(std::move(node));
}

ExprRef make_fma(ExprRef a, ExprRef b, ExprRef c) {
  FG_CHECK(a->type == b->type && b->type == c->type && is_real(a->type.scalar), "fma of {}, {}, {}",
           spelling(a->type), spelling(b->type), spelling(c->type));
  Expr node;
  node.op = Op::fma;
  node.type = a->type;
  node.operands = {std::move(a), std::move(b), std::move(c)};
  return make_node(std::move(node));
}

ExprRef make_lane(ExprRef vector, int lane) {
  FG_CHECK(lane >= 0 && lane < vector->type.lanes, "lane {} of {}", lane, spelling(vector->type));
  if (vector->type.lanes == 1) return vector;
  return make_binary(Op::lane, std::move(vector), make_integer(lane));
}

ExprRef make_vector_sum(ExprRef vector) {
  Expr node;
  node.op = Op::vector_sum;
  node.type = {vector->type.scalar, 1};
  node.operands = {std::move(vector)};
  return make_node(std::move(node));
}

ExprRef make_bit_cast(Type type, ExprRef value) {
  FG_CHECK(
      type.lanes == value->type.lanes && byte_size(type.scalar) == byte_size(value->type.scalar),
      "bit cast of {} to {}", spelling(value->type), spelling(type));
  Expr node;
  node.op = Op::bit_cast;
  node.type = type;
  node.operands = {std::move(value)};
  return make_node(std::move(node));
}

}  // namespace fusegrad::ir
