// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Making, comparing and rebuilding expressions.
#include "ir/expr.h"

#include <bit>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad::ir {

std::string_view spelling(Op op) {
  switch (op) {
#define FG_SCALAR_OP(enumerator, spelling, operands, form) \
  case Op::enumerator:                                     \
    return spelling;
#include "ir/scalar_ops.def"
#undef FG_SCALAR_OP
  }
  return "?";
}

namespace {

uint64_t mix(uint64_t hash, uint64_t value) {
  // The finaliser of splitmix64 (Steele, Lea, Flood 2014) on the running combination.
  uint64_t x = hash * 0x9e3779b97f4a7c15ULL + value + 0x7f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

ExprRef make_node(Expr node) {
  uint64_t hash = mix(static_cast<uint64_t>(node.op), static_cast<uint64_t>(node.type.scalar));
  hash = mix(hash, static_cast<uint64_t>(node.type.lanes));
  hash = mix(hash, static_cast<uint64_t>(node.integer));
  hash = mix(hash, std::bit_cast<uint64_t>(node.real));
  hash = mix(hash, node.has_else ? 1 : 0);
  if (!node.name.empty()) hash = mix(hash, hash_text(node.name));
  int depth = 0;
  int64_t count = 1;
  for (const ExprRef& operand : node.operands) {
    hash = mix(hash, operand->hash());
    depth = std::max(depth, operand->depth());
    if (std::optional<int64_t> sum = checked_add(count, operand->node_count())) count = *sum;
  }
  node.hash_ = hash;
  node.depth_ = depth + 1;
  node.node_count_ = count;
  FG_CHECK(node.depth_ <= 4 * maximum_expression_depth, "expression of depth {}", node.depth_);
  return std::make_shared<const Expr>(std::move(node));
}

ExprRef make_real(double value, ScalarType type) {
  FG_CHECK(is_real(type), "a real constant of type {}", spelling(type));
  Expr node;
  node.op = Op::constant;
  node.type = {type};
  node.real = value;
  return make_node(std::move(node));
}

ExprRef make_integer(int64_t value, ScalarType type) {
  FG_CHECK(is_integer(type), "an integer constant of type {}", spelling(type));
  Expr node;
  node.op = Op::constant;
  node.type = {type};
  node.integer = value;
  return make_node(std::move(node));
}

ExprRef make_boolean(bool value) {
  Expr node;
  node.op = Op::constant;
  node.type = {ScalarType::boolean};
  node.integer = value ? 1 : 0;
  return make_node(std::move(node));
}

ExprRef make_index(std::string_view name) {
  Expr node;
  node.op = Op::index;
  node.type = {ScalarType::i64};
  node.name = name;
  return make_node(std::move(node));
}

ExprRef make_uniform(std::string_view name) {
  Expr node;
  node.op = Op::uniform;
  node.type = {ScalarType::i64};
  node.name = name;
  return make_node(std::move(node));
}

ExprRef make_read(std::string_view tensor, ScalarType stored, std::vector<ExprRef> indices,
                  ExprRef else_value) {
  Expr node;
  node.op = Op::read;
  node.type = {value_type(stored)};
  node.name = tensor;
  node.operands = std::move(indices);
  for (const ExprRef& index : node.operands) {
    FG_CHECK(index->type == Type{ScalarType::i64}, "index of `{}` has type {}", tensor,
             spelling(index->type));
  }
  if (else_value != nullptr) {
    FG_CHECK(else_value->type == node.type, "else value of `{}` has type {}", tensor,
             spelling(else_value->type));
    node.operands.push_back(std::move(else_value));
    node.has_else = true;
  }
  return make_node(std::move(node));
}

ExprRef make_unary(Op op, ExprRef operand) {
  Expr node;
  node.op = op;
  node.type = operand->type;
  node.operands = {std::move(operand)};
  return make_node(std::move(node));
}

ExprRef make_binary(Op op, ExprRef left, ExprRef right) {
  FG_CHECK(left->type == right->type || op == Op::power || op == Op::lane || op == Op::shift_left ||
               op == Op::shift_right,
           "`{}` of {} and {}", spelling(op), spelling(left->type), spelling(right->type));
  Expr node;
  node.op = op;
  node.type = left->type;
  if (is_comparison(op)) node.type.scalar = ScalarType::boolean;
  if (op == Op::lane) node.type.lanes = 1;
  node.operands = {std::move(left), std::move(right)};
  return make_node(std::move(node));
}

ExprRef make_select(ExprRef condition, ExprRef then_value, ExprRef else_value) {
  FG_CHECK(then_value->type == else_value->type, "`if` with branches of {} and {}",
           spelling(then_value->type), spelling(else_value->type));
  FG_CHECK(condition->type.scalar == ScalarType::boolean, "condition of type {}",
           spelling(condition->type));
  Expr node;
  node.op = Op::select;
  node.type = then_value->type;
  node.operands = {std::move(condition), std::move(then_value), std::move(else_value)};
  return make_node(std::move(node));
}

ExprRef make_convert(ScalarType type, ExprRef operand) {
  Expr node;
  node.op = Op::convert;
  node.type = {type, operand->type.lanes};
  node.operands = {std::move(operand)};
  return make_node(std::move(node));
}

ExprRef make_random(Op op, int64_t stream, ExprRef position, ScalarType type) {
  FG_CHECK(op == Op::rand || op == Op::normal, "make_random of `{}`", spelling(op));
  Expr node;
  node.op = op;
  node.type = {type, position->type.lanes};
  node.integer = stream;
  node.operands = {std::move(position)};
  return make_node(std::move(node));
}

bool is_integer_constant(const ExprRef& e, int64_t value) {
  return e->op == Op::constant && is_integer(e->type.scalar) && e->integer == value;
}

bool is_real_constant(const ExprRef& e, double value) {
  return e->op == Op::constant && is_real(e->type.scalar) && e->real == value;
}

bool is_boolean_constant(const ExprRef& e, bool value) {
  return e->op == Op::constant && e->type.scalar == ScalarType::boolean &&
         e->integer == (value ? 1 : 0);
}

bool is_comparison(Op op) {
  return op == Op::less || op == Op::less_equal || op == Op::greater || op == Op::greater_equal ||
         op == Op::equal || op == Op::not_equal;
}

bool same(const ExprRef& a, const ExprRef& b) {
  if (a == b) return true;
  if (a->hash() != b->hash() || a->op != b->op || !(a->type == b->type) ||
      a->integer != b->integer || a->has_else != b->has_else ||
      std::bit_cast<uint64_t>(a->real) != std::bit_cast<uint64_t>(b->real) || a->name != b->name ||
      a->operands.size() != b->operands.size()) {
    return false;
  }
  for (size_t i = 0; i < a->operands.size(); ++i) {
    if (!same(a->operands[i], b->operands[i])) return false;
  }
  return true;
}

void walk(const ExprRef& e, const std::function<void(const Expr&)>& visit) {
  visit(*e);
  for (const ExprRef& operand : e->operands) walk(operand, visit);
}

std::set<std::string> free_indices(const ExprRef& e) {
  std::set<std::string> names;
  walk(e, [&](const Expr& node) {
    if (node.op == Op::index) names.insert(node.name);
  });
  return names;
}

bool mentions_index(const ExprRef& e, std::string_view name) {
  if (e->op == Op::index) return e->name == name;
  for (const ExprRef& operand : e->operands) {
    if (mentions_index(operand, name)) return true;
  }
  return false;
}

ExprRef with_operands(const Expr& node, std::vector<ExprRef> operands) {
  Expr copy;  // not of the whole node: its operands would be copied for nothing
  copy.op = node.op;
  copy.type = node.type;
  copy.operands = std::move(operands);
  copy.name = node.name;
  copy.integer = node.integer;
  copy.real = node.real;
  copy.has_else = node.has_else;
  return make_node(std::move(copy));
}

namespace {

/// The node with `change` applied to each operand; itself if none of them changes.
template <typename Change>
ExprRef with_changed_operands(const ExprRef& e, const Change& change) {
  std::vector<ExprRef> operands;
  for (size_t i = 0; i < e->operands.size(); ++i) {
    ExprRef changed = change(e->operands[i]);
    if (operands.empty()) {
      if (changed == e->operands[i]) continue;
      operands.reserve(e->operands.size());
      operands.assign(e->operands.begin(), e->operands.begin() + static_cast<std::ptrdiff_t>(i));
    }
    operands.push_back(std::move(changed));
  }
  return operands.empty() ? e : with_operands(*e, std::move(operands));
}

}  // namespace

ExprRef rewrite(const ExprRef& e, const std::function<ExprRef(const ExprRef&)>& change) {
  if (e->operands.empty()) return change(e);
  return change(
      with_changed_operands(e, [&](const ExprRef& operand) { return rewrite(operand, change); }));
}

ExprRef substitute(const ExprRef& e, const std::map<std::string, ExprRef>& by_name) {
  if (by_name.empty()) return e;
  if (e->op == Op::index) {
    auto found = by_name.find(e->name);
    return found == by_name.end() ? e : found->second;
  }
  return with_changed_operands(
      e, [&](const ExprRef& operand) { return substitute(operand, by_name); });
}

}  // namespace fusegrad::ir
