// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arithmetic on what is known at compile time, and the little folding that keeps T readable.
#include "frontend/elaborate_value.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "ir/support/check.h"

namespace fusegrad::frontend {

using ir::ExprRef;
using ir::Extent;
using ir::Op;
using ir::ScalarType;

Value Value::of_boolean(bool value) {
  Value result;
  result.kind = ValueKind::boolean;
  result.boolean = value;
  return result;
}

Value Value::of_integer(Extent value) {
  Value result;
  result.kind = ValueKind::integer;
  result.integer = value;
  return result;
}

Value Value::of_real(double value) {
  Value result;
  result.kind = ValueKind::real;
  result.real = value;
  return result;
}

Value Value::of_element(ExprRef expression, ir::Shape shape, bool is_flexible) {
  Value result;
  result.kind = ValueKind::element;
  result.expression = std::move(expression);
  result.shape = std::move(shape);
  result.is_flexible = is_flexible;
  return result;
}

bool Value::is_boolean() const {
  return kind == ValueKind::boolean ||
         (kind == ValueKind::element && expression->type.scalar == ScalarType::boolean);
}

bool Value::is_typed_integer() const {
  return kind == ValueKind::element && !is_flexible && ir::is_integer(expression->type.scalar);
}

bool Value::is_typed_real() const {
  return kind == ValueKind::element && ir::is_real(expression->type.scalar);
}

std::string whole_index(size_t dimension) { return fmt::format("${}", dimension); }

// ---------------------------------------------------------------- sizes

namespace {

SizeResult mistake(SizeMistake which) { return {{0, 0}, which}; }

SizeResult number(std::optional<int64_t> value) {
  if (!value) return mistake(SizeMistake::overflow);
  return {Extent::number(*value), SizeMistake::none};
}

SizeResult multiple(std::optional<int64_t> factor, int64_t batch) {
  if (!factor) return mistake(SizeMistake::overflow);
  if (*factor == 0) return number(0);
  std::optional<int64_t> maximum = ir::checked_multiply(*factor, batch);
  if (!maximum) return mistake(SizeMistake::overflow);
  return {Extent{*maximum, *factor}, SizeMistake::none};
}

std::optional<int64_t> checked_subtract(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_sub_overflow(a, b, &result)) return std::nullopt;
  return result;
}

std::optional<int64_t> checked_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  // Whatever is neither -1, 0 nor 1 overflows or ends within 63 turns.
  if (base == 0) return exponent == 0 ? 1 : 0;
  if (base == 1) return 1;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (int64_t i = 0; i < exponent; ++i) {
    std::optional<int64_t> next = ir::checked_multiply(result, base);
    if (!next) return std::nullopt;
    result = *next;
  }
  return result;
}

SizeResult number_arithmetic(ast::BinaryOperator op, int64_t a, int64_t b) {
  switch (op) {
    case ast::BinaryOperator::add:
      return number(ir::checked_add(a, b));
    case ast::BinaryOperator::subtract:
      return number(checked_subtract(a, b));
    case ast::BinaryOperator::multiply:
      return number(ir::checked_multiply(a, b));
    case ast::BinaryOperator::floor_divide:
      return b > 0 ? number(ir::floor_divide(a, b)) : mistake(SizeMistake::divisor);
    case ast::BinaryOperator::modulo:
      return b > 0 ? number(ir::floor_modulo(a, b)) : mistake(SizeMistake::divisor);
    case ast::BinaryOperator::power:
      return b >= 0 ? number(checked_power(a, b)) : mistake(SizeMistake::divisor);
    case ast::BinaryOperator::logical_or:
    case ast::BinaryOperator::logical_and:
    case ast::BinaryOperator::less:
    case ast::BinaryOperator::less_equal:
    case ast::BinaryOperator::greater:
    case ast::BinaryOperator::greater_equal:
    case ast::BinaryOperator::equal:
    case ast::BinaryOperator::not_equal:
    case ast::BinaryOperator::divide:
      break;
  }
  FG_UNREACHABLE("size arithmetic with `{}`", ast::spelling(op));
}

}  // namespace

SizeResult size_arithmetic(ast::BinaryOperator op, Extent a, Extent b, int64_t batch) {
  const bool a_varies = a.per_row != 0;
  const bool b_varies = b.per_row != 0;
  if (!a_varies && !b_varies) return number_arithmetic(op, a.maximum, b.maximum);
  switch (op) {
    case ast::BinaryOperator::add:
    case ast::BinaryOperator::subtract: {
      // 0 is a multiple of anything.
      if ((!a_varies && a.maximum != 0) || (!b_varies && b.maximum != 0)) {
        return mistake(SizeMistake::not_multiple);
      }
      return multiple(op == ast::BinaryOperator::add ? ir::checked_add(a.per_row, b.per_row)
                                                     : checked_subtract(a.per_row, b.per_row),
                      batch);
    }
    case ast::BinaryOperator::multiply: {
      if (a_varies && b_varies) return mistake(SizeMistake::not_multiple);
      return multiple(a_varies ? ir::checked_multiply(a.per_row, b.maximum)
                               : ir::checked_multiply(b.per_row, a.maximum),
                      batch);
    }
    case ast::BinaryOperator::floor_divide: {
      if (b_varies) {
        if (b.per_row <= 0) return mistake(SizeMistake::divisor);
        // (f * B) // (g * B) is f // g for every B > 0.
        if (!a_varies && a.maximum != 0) return mistake(SizeMistake::not_multiple);
        return number(ir::floor_divide(a.per_row, b.per_row));
      }
      if (b.maximum <= 0) return mistake(SizeMistake::divisor);
      if (a.per_row % b.maximum != 0) return mistake(SizeMistake::not_multiple);
      return multiple(a.per_row / b.maximum, batch);
    }
    case ast::BinaryOperator::modulo: {
      if (b_varies) {
        if (b.per_row <= 0) return mistake(SizeMistake::divisor);
        if (!a_varies && a.maximum != 0) return mistake(SizeMistake::not_multiple);
        return multiple(ir::floor_modulo(a.per_row, b.per_row), batch);
      }
      if (b.maximum <= 0) return mistake(SizeMistake::divisor);
      if (a.per_row % b.maximum != 0) return mistake(SizeMistake::not_multiple);
      return number(0);
    }
    case ast::BinaryOperator::power:
      if (!b_varies && b.maximum == 1) return {a, SizeMistake::none};
      if (!b_varies && b.maximum == 0) return number(1);
      return mistake(SizeMistake::not_multiple);
    case ast::BinaryOperator::logical_or:
    case ast::BinaryOperator::logical_and:
    case ast::BinaryOperator::less:
    case ast::BinaryOperator::less_equal:
    case ast::BinaryOperator::greater:
    case ast::BinaryOperator::greater_equal:
    case ast::BinaryOperator::equal:
    case ast::BinaryOperator::not_equal:
    case ast::BinaryOperator::divide:
      break;
  }
  FG_UNREACHABLE("size arithmetic with `{}`", ast::spelling(op));
}

std::optional<int> compare_sizes(Extent a, Extent b) {
  auto compare = [](int64_t x, int64_t y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (a.per_row == 0 && b.per_row == 0) return compare(a.maximum, b.maximum);
  // The number of rows is at least 1, so a multiple of it has the sign of its factor.
  if (a.per_row != 0 && b.per_row != 0) return compare(a.per_row, b.per_row);
  if (a.per_row == 0 && a.maximum == 0) return compare(0, b.per_row);
  if (b.per_row == 0 && b.maximum == 0) return compare(a.per_row, 0);
  return std::nullopt;
}

std::string size_text(Extent size) {
  if (size.per_row == 0) return fmt::format("{}", size.maximum);
  if (size.per_row == 1) return "B";
  return fmt::format("B * {}", size.per_row);
}

std::string shape_text(const ir::Shape& shape) {
  if (shape.empty()) return "a single number";
  std::string text;
  for (const Extent& extent : shape) {
    if (!text.empty()) text += " x ";
    text += extent.per_row > 1 ? "(" + size_text(extent) + ")" : size_text(extent);
  }
  return text;
}

SizeResult element_count(const ir::Shape& shape, int64_t batch) {
  SizeResult count = {Extent::number(1), SizeMistake::none};
  for (const Extent& extent : shape) {
    count = size_arithmetic(ast::BinaryOperator::multiply, count.value, extent, batch);
    if (count.mistake != SizeMistake::none) break;
  }
  return count;
}

// ---------------------------------------------------------------- expressions

namespace {

std::optional<int64_t> fold_integers(Op op, int64_t a, int64_t b) {
  if (op == Op::add) return ir::checked_add(a, b);
  if (op == Op::subtract) return checked_subtract(a, b);
  if (op == Op::multiply) return ir::checked_multiply(a, b);
  if (op == Op::floor_divide && b > 0) return ir::floor_divide(a, b);
  if (op == Op::modulo && b > 0) return ir::floor_modulo(a, b);
  if (op == Op::minimum) return b < a ? b : a;
  if (op == Op::maximum) return b > a ? b : a;
  return std::nullopt;
}

bool is_commutative_neutral(Op op, const ExprRef& e) {
  if (op == Op::add) return ir::is_integer_constant(e, 0);
  // x * 1 is x for every real, NaN and -0 included; x + 0 is not.
  return op == Op::multiply && (ir::is_integer_constant(e, 1) || ir::is_real_constant(e, 1));
}

bool is_right_neutral(Op op, const ExprRef& e) {
  if (op == Op::subtract) return ir::is_integer_constant(e, 0) || ir::is_real_constant(e, 0);
  if (op == Op::divide) return ir::is_real_constant(e, 1);
  return op == Op::floor_divide && ir::is_integer_constant(e, 1);
}

}  // namespace

ExprRef fold_binary(Op op, const ExprRef& a, const ExprRef& b) {
  if (op == Op::logical_and || op == Op::logical_or) {
    const bool neutral = op == Op::logical_and;
    if (ir::is_boolean_constant(a, neutral) || ir::is_boolean_constant(b, !neutral)) return b;
    if (ir::is_boolean_constant(b, neutral) || ir::is_boolean_constant(a, !neutral)) return a;
  }
  if (a->type.scalar == ScalarType::i64 && ir::is_constant(a) && ir::is_constant(b)) {
    if (std::optional<int64_t> value = fold_integers(op, a->integer, b->integer)) {
      return ir::make_integer(*value);
    }
  }
  if (is_commutative_neutral(op, a)) return b;
  if (is_commutative_neutral(op, b) || is_right_neutral(op, b)) return a;
  if (op == Op::multiply && (ir::is_integer_constant(a, 0) || ir::is_integer_constant(b, 0))) {
    return ir::make_integer(0);
  }
  if (op == Op::modulo && ir::is_integer_constant(b, 1)) return ir::make_integer(0);
  return ir::make_binary(op, a, b);
}

ExprRef fold_negate(const ExprRef& a) {
  if (ir::is_constant(a)) {
    if (ir::is_real(a->type.scalar)) return ir::make_real(-a->real, a->type.scalar);
    if (std::optional<int64_t> value = checked_subtract(0, a->integer)) {
      return ir::make_integer(*value);
    }
  }
  return ir::make_unary(Op::negate, a);
}

ExprRef fold_not(const ExprRef& a) {
  if (ir::is_constant(a)) return ir::make_boolean(a->integer == 0);
  return ir::make_unary(Op::logical_not, a);
}

ExprRef fold_select(const ExprRef& condition, const ExprRef& a, const ExprRef& b) {
  if (ir::is_constant(condition)) return condition->integer != 0 ? a : b;
  return ir::make_select(condition, a, b);
}

namespace {

ExprRef rows_multiple(Extent size) {
  return fold_binary(Op::multiply, ir::make_uniform("rows"), ir::make_integer(size.per_row));
}

/// Into the branches, so that `if c then 1 else 0` becomes `if c then 1.0 else 0.0`.
ExprRef flexible_to_real(const ExprRef& e, ScalarType type) {
  if (ir::is_constant(e)) return ir::make_real(static_cast<double>(e->integer), type);
  if (e->op == Op::select) {
    return ir::make_select(e->operands[0], flexible_to_real(e->operands[1], type),
                           flexible_to_real(e->operands[2], type));
  }
  return ir::make_convert(type, e);
}

}  // namespace

ExprRef as_expression(const Value& value, ScalarType type) {
  switch (value.kind) {
    case ValueKind::error:
      return nullptr;
    case ValueKind::boolean:
      return type == ScalarType::boolean ? ir::make_boolean(value.boolean) : nullptr;
    case ValueKind::integer:
      if (type == ScalarType::boolean) return nullptr;
      if (value.integer.per_row != 0) {
        ExprRef rows = rows_multiple(value.integer);
        return ir::is_real(type) ? ir::make_convert(type, rows) : rows;
      }
      if (ir::is_real(type)) {
        return ir::make_real(static_cast<double>(value.integer.maximum), type);
      }
      return ir::make_integer(value.integer.maximum);
    case ValueKind::real:
      return ir::is_real(type) ? ir::make_real(value.real, type) : nullptr;
    case ValueKind::element:
      if (value.expression->type.scalar == type) return value.expression;
      if (value.is_flexible && ir::is_real(type)) return flexible_to_real(value.expression, type);
      return nullptr;
  }
  return nullptr;
}

ExprRef size_expression(Extent size) {
  return as_expression(Value::of_integer(size), ScalarType::i64);
}

bool mentions_random(const ExprRef& e) {
  bool found = false;
  ir::walk(e, [&](const ir::Expr& node) {
    found = found || node.op == Op::rand || node.op == Op::normal;
  });
  return found;
}

bool mentions_rows(const ExprRef& e) {
  bool found = false;
  ir::walk(e, [&](const ir::Expr& node) {
    found = found || (node.op == Op::uniform && node.name == "rows");
  });
  return found;
}

ExprRef row_major_position(const std::vector<ExprRef>& indices, const ir::Shape& shape) {
  FG_CHECK(indices.size() == shape.size(), "{} indices for rank {}", indices.size(), shape.size());
  ExprRef position = ir::make_integer(0);
  for (size_t d = 0; d < indices.size(); ++d) {
    position = fold_binary(Op::multiply, position, ir::make_integer(shape[d].maximum));
    position = fold_binary(Op::add, position, indices[d]);
  }
  return position;
}

}  // namespace fusegrad::frontend
