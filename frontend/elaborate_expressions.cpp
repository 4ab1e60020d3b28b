// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What operators mean: constants are computed, everything else becomes an expression of T.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::BinaryOperator;
using ast::ExpressionKind;
using ir::ExprRef;
using ir::Op;

namespace {

bool is_arithmetic(BinaryOperator op) { return op >= BinaryOperator::add; }
bool is_logical(BinaryOperator op) {
  return op == BinaryOperator::logical_and || op == BinaryOperator::logical_or;
}

Op tensor_operator(BinaryOperator op) {
  switch (op) {
    case BinaryOperator::logical_or:
      return Op::logical_or;
    case BinaryOperator::logical_and:
      return Op::logical_and;
    case BinaryOperator::less:
      return Op::less;
    case BinaryOperator::less_equal:
      return Op::less_equal;
    case BinaryOperator::greater:
      return Op::greater;
    case BinaryOperator::greater_equal:
      return Op::greater_equal;
    case BinaryOperator::equal:
      return Op::equal;
    case BinaryOperator::not_equal:
      return Op::not_equal;
    case BinaryOperator::add:
      return Op::add;
    case BinaryOperator::subtract:
      return Op::subtract;
    case BinaryOperator::multiply:
      return Op::multiply;
    case BinaryOperator::divide:
      return Op::divide;
    case BinaryOperator::floor_divide:
      return Op::floor_divide;
    case BinaryOperator::modulo:
      return Op::modulo;
    case BinaryOperator::power:
      return Op::power;
  }
  return Op::add;
}

bool compare(BinaryOperator op, int order) {
  switch (op) {
    case BinaryOperator::less:
      return order < 0;
    case BinaryOperator::less_equal:
      return order <= 0;
    case BinaryOperator::greater:
      return order > 0;
    case BinaryOperator::greater_equal:
      return order >= 0;
    case BinaryOperator::equal:
      return order == 0;
    case BinaryOperator::not_equal:
      return order != 0;
    case BinaryOperator::logical_or:
    case BinaryOperator::logical_and:
    case BinaryOperator::add:
    case BinaryOperator::subtract:
    case BinaryOperator::multiply:
    case BinaryOperator::divide:
    case BinaryOperator::floor_divide:
    case BinaryOperator::modulo:
    case BinaryOperator::power:
      return false;
  }
  return false;
}

bool compare_reals(BinaryOperator op, double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return op == BinaryOperator::not_equal;
  return compare(op, a < b ? -1 : a > b ? 1 : 0);
}

double real_of(const Value& value) {
  return value.kind == ValueKind::integer ? static_cast<double>(value.integer.maximum) : value.real;
}

}  // namespace

Value Elaborator::evaluate(const ast::Expression& e, const Scope& scope) {
  if (!charge(scope.frame != nullptr ? scope.frame : scope.site, e.span)) return error();
  // Functions may put one high expression into another; the stack must hold all of it.
  constexpr int deepest = 1'500;
  if (depth_ >= deepest) {
    report(scope, Complaint("E0903", e.span, "this expression is too deep",
                            "functions that it calls included")
                      .help("give parts of it names of their own"));
    return error();
  }
  ++depth_;
  Value value = evaluate_kind(e, scope);
  --depth_;
  if (value.kind == ValueKind::element) {
    if (value.expression->depth() > max_expression_depth ||
        value.expression->node_count() > max_expression_nodes) {
      report(scope, Complaint("E0903", e.span, "this expression is too large",
                              "functions that it calls included")
                        .help("give parts of it names of their own, each with its own statement"));
      return error();
    }
  }
  return value;
}

Value Elaborator::evaluate_kind(const ast::Expression& e, const Scope& scope) {
  switch (e.kind) {
    case ExpressionKind::invalid:
      return error();
    case ExpressionKind::number:
      return e.number.is_integer ? Value::of_number(e.number.integer)
                                 : Value::of_real(e.number.real);
    case ExpressionKind::infinity:
      return Value::of_real(std::numeric_limits<double>::infinity());
    case ExpressionKind::boolean:
      return Value::of_boolean(e.boolean);
    case ExpressionKind::training:
      is_training_asked_ = true;
      return Value::of_boolean(options_.training);
    case ExpressionKind::string:
      report(scope, Complaint("E0108", e.span, "a string has no meaning here", "expected a value")
                        .note("strings are paths in `data` blocks and messages of `require`"));
      return error();
    case ExpressionKind::list:
      report(scope, Complaint("E0108", e.span, "a list has no meaning here", "expected a value")
                        .note("lists are the sizes that `reshape` is given"));
      return error();
    case ExpressionKind::ellipsis:
      report(scope, Complaint("E0108", e.span, "`...` has no meaning here", "expected a value")
                        .note("`...` stands for several indices of a tensor or sizes of a type"));
      return error();
    case ExpressionKind::name:
      return evaluate_name(e, scope);
    case ExpressionKind::dimension:
      return evaluate_dimension(e, scope);
    case ExpressionKind::negate:
      return evaluate_negate(e, scope);
    case ExpressionKind::logical_not:
      return evaluate_not(e, scope);
    case ExpressionKind::binary:
      return evaluate_binary(e, scope);
    case ExpressionKind::conditional:
      return evaluate_conditional(e, scope);
    case ExpressionKind::read:
      return evaluate_read(e, scope);
    case ExpressionKind::call:
      return evaluate_call(e, scope);
    case ExpressionKind::reduction:
      return evaluate_reduction(e, scope);
  }
  return error();
}

// ---------------------------------------------------------------- operators

Value Elaborator::evaluate_negate(const ast::Expression& e, const Scope& scope) {
  Operand a = {&e.operands[0], evaluate(e.operands[0], scope)};
  if (!is_number_operand(a, "-", scope)) return error();
  switch (a.value.kind) {
    case ValueKind::integer: {
      SizeResult result = size_arithmetic(BinaryOperator::subtract, ir::Extent::number(0),
                                          a.value.integer, options_.batch.value_or(1));
      if (result.mistake != SizeMistake::none) return report_size_mistake(result.mistake, e, scope);
      return Value::of_integer(result.value);
    }
    case ValueKind::real:
      return Value::of_real(-a.value.real);
    case ValueKind::element:
      return Value::of_element(fold_negate(a.value.expression), a.value.shape, a.value.is_flexible);
    case ValueKind::boolean:
    case ValueKind::error:
      break;
  }
  return error();
}

Value Elaborator::evaluate_not(const ast::Expression& e, const Scope& scope) {
  Operand a = {&e.operands[0], evaluate(e.operands[0], scope)};
  if (a.value.kind == ValueKind::boolean) return Value::of_boolean(!a.value.boolean);
  ExprRef operand = boolean_operand(a, "not", scope);
  if (operand == nullptr) return error();
  return Value::of_element(fold_not(operand), a.value.shape);
}

std::optional<Value> Elaborator::constant_binary(const ast::Expression& e, const Value& a,
                                                 const Value& b, const Scope& scope) {
  const BinaryOperator op = e.binary;
  if (a.kind == ValueKind::boolean && b.kind == ValueKind::boolean) {
    switch (op) {
      case BinaryOperator::logical_and:
        return Value::of_boolean(a.boolean && b.boolean);
      case BinaryOperator::logical_or:
        return Value::of_boolean(a.boolean || b.boolean);
      case BinaryOperator::equal:
        return Value::of_boolean(a.boolean == b.boolean);
      case BinaryOperator::not_equal:
        return Value::of_boolean(a.boolean != b.boolean);
      case BinaryOperator::less:
      case BinaryOperator::less_equal:
      case BinaryOperator::greater:
      case BinaryOperator::greater_equal:
      case BinaryOperator::add:
      case BinaryOperator::subtract:
      case BinaryOperator::multiply:
      case BinaryOperator::divide:
      case BinaryOperator::floor_divide:
      case BinaryOperator::modulo:
      case BinaryOperator::power:
        return std::nullopt;  // element_binary finds the words
    }
  }
  if (a.kind == ValueKind::boolean || b.kind == ValueKind::boolean || is_logical(op)) {
    return std::nullopt;
  }
  const bool both_integer = a.kind == ValueKind::integer && b.kind == ValueKind::integer;
  if (op == BinaryOperator::divide && scope.mode == Scope::Mode::size) {
    report(scope, Complaint("E0208", e.span, "`/` cannot be used in a size", "a size is an integer")
                      .help(fmt::format("write `{} // {}` (rounds down)", quote(e.operands[0].span),
                                        quote(e.operands[1].span))));
    return error();
  }
  if (both_integer && op != BinaryOperator::divide) {
    if (!is_arithmetic(op)) {
      if (std::optional<int> order = compare_sizes(a.integer, b.integer)) {
        return Value::of_boolean(compare(op, *order));
      }
      if (!scope.wants_constant()) return std::nullopt;
      return report_size_mistake(SizeMistake::not_multiple, e, scope);
    }
    const bool negative_power = op == BinaryOperator::power && a.is_number() && b.is_number() &&
                                b.integer.maximum < 0 && scope.mode != Scope::Mode::size;
    if (!negative_power) {
      SizeResult result = size_arithmetic(op, a.integer, b.integer, options_.batch.value_or(1));
      if (result.mistake == SizeMistake::none) return Value::of_integer(result.value);
      if (result.mistake == SizeMistake::not_multiple && !scope.wants_constant()) {
        return std::nullopt;
      }
      return report_size_mistake(result.mistake, e, scope);
    }
  }
  const bool any_rows = (a.kind == ValueKind::integer && a.integer.per_row != 0) ||
                        (b.kind == ValueKind::integer && b.integer.per_row != 0);
  if (any_rows) {
    if (!scope.wants_constant()) return std::nullopt;
    return report_size_mistake(SizeMistake::not_multiple, e, scope);
  }
  const double x = real_of(a);
  const double y = real_of(b);
  switch (op) {
    case BinaryOperator::add:
      return Value::of_real(x + y);
    case BinaryOperator::subtract:
      return Value::of_real(x - y);
    case BinaryOperator::multiply:
      return Value::of_real(x * y);
    case BinaryOperator::divide:
      return Value::of_real(x / y);
    case BinaryOperator::power:
      return Value::of_real(std::pow(x, y));
    case BinaryOperator::floor_divide:
    case BinaryOperator::modulo:
      report(scope, Complaint("E0401", e.operator_span,
                              fmt::format("`{}` needs integers", ast::spelling(op)),
                              "one side is a real number")
                        .help("write `floor(a / b)` for reals"));
      return error();
    case BinaryOperator::less:
    case BinaryOperator::less_equal:
    case BinaryOperator::greater:
    case BinaryOperator::greater_equal:
    case BinaryOperator::equal:
    case BinaryOperator::not_equal:
      return Value::of_boolean(compare_reals(op, x, y));
    case BinaryOperator::logical_and:
    case BinaryOperator::logical_or:
      break;
  }
  return std::nullopt;
}

Value Elaborator::evaluate_binary(const ast::Expression& e, const Scope& scope) {
  Operand a = {&e.operands[0], evaluate(e.operands[0], scope)};
  Operand b = {&e.operands[1], evaluate(e.operands[1], scope)};
  if (a.value.is_error() || b.value.is_error()) return error();
  if (a.value.is_constant() && b.value.is_constant()) {
    if (std::optional<Value> value = constant_binary(e, a.value, b.value, scope)) return *value;
  }
  return element_binary(e, a, b, scope);
}

Value Elaborator::element_binary(const ast::Expression& e, const Operand& a, const Operand& b,
                                 const Scope& scope) {
  const BinaryOperator op = e.binary;
  const std::string_view sign = ast::spelling(op);
  if (is_logical(op)) {
    ExprRef left = boolean_operand(a, sign, scope);
    ExprRef right = boolean_operand(b, sign, scope);
    if (left == nullptr || right == nullptr) return error();
    std::optional<ir::Shape> shape = common_shape(a, b, e.operator_span, scope);
    if (!shape) return error();
    ExprRef result = fold_binary(tensor_operator(op), left, right);
    if (ir::is_constant(result)) return Value::of_boolean(result->integer != 0);
    return Value::of_element(std::move(result), std::move(*shape));
  }
  const bool is_equality = op == BinaryOperator::equal || op == BinaryOperator::not_equal;
  if (!is_equality) {
    const bool left = is_number_operand(a, sign, scope);
    const bool right = is_number_operand(b, sign, scope);
    if (!left || !right) return error();
  }
  if (op == BinaryOperator::divide || op == BinaryOperator::power) {
    // Real operations; an exponent is converted, too, so that both sides have one type.
    Operand left = a;
    Operand right = b;
    for (Operand* operand : {&left, &right}) {
      ExprRef real = real_operand(*operand, sign, scope);
      if (real == nullptr) return error();
      if (!operand->value.is_constant()) {
        operand->value = Value::of_element(std::move(real), operand->value.shape);
      } else if (operand->value.kind == ValueKind::integer && operand->value.integer.per_row != 0) {
        operand->value = Value::of_element(std::move(real));
      } else {
        operand->value = Value::of_real(real_of(operand->value));
      }
    }
    std::optional<Pair> pair = unify(left, right, sign, e.operator_span, scope);
    if (!pair) return error();
    return Value::of_element(fold_binary(tensor_operator(op), pair->a, pair->b),
                             std::move(pair->shape));
  }
  std::optional<Pair> pair = unify(a, b, sign, e.operator_span, scope);
  if (!pair) return error();
  if (op == BinaryOperator::floor_divide || op == BinaryOperator::modulo) {
    if (!ir::is_integer(pair->a->type.scalar)) {
      report(scope, Complaint("E0401", e.operator_span, fmt::format("`{}` needs integers", sign),
                              "these are reals")
                        .help("write `floor(a / b)` for reals"));
      return error();
    }
    if (!ir::is_constant(pair->b) || pair->b->integer <= 0) {
      report(scope, Complaint("E0213", e.operands[1].span,
                              fmt::format("`{}` needs a positive divisor that is known at compile "
                                          "time",
                                          sign),
                              ""));
      return error();
    }
  }
  ExprRef result = fold_binary(tensor_operator(op), pair->a, pair->b);
  const bool is_flexible = pair->is_flexible && is_arithmetic(op);
  return Value::of_element(std::move(result), std::move(pair->shape), is_flexible);
}

Value Elaborator::evaluate_conditional(const ast::Expression& e, const Scope& scope) {
  Scope condition_scope = scope;
  if (scope.mode == Scope::Mode::size) condition_scope.mode = Scope::Mode::constant;
  Operand condition = {&e.operands[0], evaluate(e.operands[0], condition_scope)};
  if (condition.value.is_error()) return error();
  if (condition.value.kind == ValueKind::boolean) {
    // A total is over all parameters, also over those with other tags.
    const size_t taken = condition.value.boolean ? 1 : 2;
    if (scope.totals != nullptr) static_cast<void>(evaluate(e.operands[3 - taken], scope));
    return evaluate(e.operands[taken], scope);
  }
  Operand a = {&e.operands[1], evaluate(e.operands[1], scope)};
  Operand b = {&e.operands[2], evaluate(e.operands[2], scope)};
  ExprRef test = boolean_operand(condition, "if", scope);
  if (test == nullptr) return error();
  std::optional<Pair> pair = unify(a, b, "if", e.span, scope);
  if (!pair) return error();
  Operand branches = {&e, Value::of_element(pair->a, pair->shape)};
  std::optional<ir::Shape> shape = common_shape(condition, branches, e.span, scope);
  if (!shape) return error();
  return Value::of_element(fold_select(test, pair->a, pair->b), std::move(*shape),
                           pair->is_flexible);
}

}  // namespace fusegrad::frontend
