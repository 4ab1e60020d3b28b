// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls of functions of the language: they become operators.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "frontend/elaborate_reshape.h"
#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ir::ExprRef;
using ir::Op;
using ir::ScalarType;

namespace {

struct RealFunction {
  std::string_view name;
  Op op;
  double (*apply)(double);
};

constexpr std::array<RealFunction, 12> real_functions = {{
    {"exp", Op::exp, [](double x) { return std::exp(x); }},
    {"log", Op::log, [](double x) { return std::log(x); }},
    {"log1p", Op::log1p, [](double x) { return std::log1p(x); }},
    {"expm1", Op::expm1, [](double x) { return std::expm1(x); }},
    {"sqrt", Op::sqrt, [](double x) { return std::sqrt(x); }},
    {"rsqrt", Op::rsqrt, [](double x) { return 1 / std::sqrt(x); }},
    {"tanh", Op::tanh, [](double x) { return std::tanh(x); }},
    {"erf", Op::erf, [](double x) { return std::erf(x); }},
    {"sin", Op::sin, [](double x) { return std::sin(x); }},
    {"cos", Op::cos, [](double x) { return std::cos(x); }},
    {"abs", Op::abs, [](double x) { return std::abs(x); }},
    {"floor", Op::floor, [](double x) { return std::floor(x); }},
}};

const RealFunction* find_real_function(std::string_view name) {
  for (const RealFunction& function : real_functions) {
    if (function.name == name) return &function;
  }
  return nullptr;
}

bool is_reduction_word(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(ast::ReductionOperator::all); ++i) {
    if (ast::spelling(static_cast<ast::ReductionOperator>(i)) == name) return true;
  }
  return false;
}

/// FNV-1a: the same in every run of every build.
uint32_t stable_hash(std::string_view text) {
  uint32_t hash = 0x811c9dc5U;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
  return hash;
}

}  // namespace

bool Elaborator::has_arguments(const ast::Expression& e, size_t count, std::string_view signature,
                               const Scope& scope) {
  bool is_positional = true;
  for (const ast::Argument& argument : e.arguments) {
    is_positional = is_positional && argument.name.text.empty();
  }
  if (is_positional && e.arguments.size() == count) return true;
  report(scope,
         Complaint("E0107", e.span,
                   fmt::format("`{}` takes {}{}", e.name.text,
                               count == 1 ? "1 argument" : fmt::format("{} arguments", count),
                               is_positional ? "" : " without names"),
                   fmt::format("{} given", e.arguments.size()))
             .note(fmt::format("`{}`", signature)));
  return false;
}

Value Elaborator::evaluate_builtin(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (const RealFunction* function = find_real_function(name)) {
    return evaluate_real_function(function->op, e, scope);
  }
  if (name == "real" || name == "f32" || name == "f64" || name == "i32") {
    return evaluate_conversion(e, scope);
  }
  if (name == "f16" || name == "bf16") {
    report(scope, Complaint("E0902", e.span, fmt::format("`{}` is not supported yet", name), ""));
    return error();
  }
  if ((name == "max" || name == "min") && e.arguments.size() != 1)
    return evaluate_extreme(e, scope);
  if (is_reduction_word(name)) {
    if (!has_arguments(e, 1, fmt::format("{}(t)` or `{}(i: ...)", name, name), scope)) {
      return error();
    }
    if (scope.tags != nullptr) {
      report(scope, Complaint("E0902", e.span, "reductions in optimizers are not supported yet", "")
                        .note("an optimizer is a rule for each element by itself"));
      return error();
    }
    return evaluate_whole_reduction(e, scope);
  }
  if (name == "rand" || name == "normal") return evaluate_random(e, scope);
  if (name == "size") return evaluate_size_of(e, scope);
  if (name == "reshape") return evaluate_reshape(e, scope);
  if (name == "tagged") return evaluate_tagged(e, scope);
  if (name == "total") return evaluate_total(e, scope);
  if (name == "stop_gradient") {
    if (!has_arguments(e, 1, "stop_gradient(x)", scope)) return error();
    Value value = evaluate(e.arguments[0].value, scope.for_arguments());
    if (!value.is_typed_real()) return value;
    return Value::of_element(ir::make_unary(Op::stop_gradient, value.expression), value.shape);
  }
  report(scope, Complaint("E0902", e.span, fmt::format("`{}` is not supported yet", name), ""));
  return error();
}

Value Elaborator::evaluate_real_function(Op op, const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (!has_arguments(e, 1, fmt::format("{}(x)", name), scope)) return error();
  Operand a = {&e.arguments[0].value, evaluate(e.arguments[0].value, scope.for_arguments())};
  if (!is_number_operand(a, name, scope)) return error();
  const Value& value = a.value;
  if (op == Op::abs && value.kind == ValueKind::integer && value.is_number()) {
    if (value.integer.maximum == std::numeric_limits<int64_t>::min()) {
      return report_size_mistake(SizeMistake::overflow, e, scope);
    }
    return Value::of_number(std::abs(value.integer.maximum));
  }
  if (op == Op::abs && value.is_typed_integer()) {
    return Value::of_element(ir::make_unary(op, value.expression), value.shape);
  }
  if (value.kind == ValueKind::real || value.is_number()) {
    const double x =
        value.kind == ValueKind::real ? value.real : static_cast<double>(value.integer.maximum);
    return Value::of_real(find_real_function(name)->apply(x));
  }
  if (scope.wants_constant() && value.kind == ValueKind::integer) {
    return report_size_mistake(SizeMistake::not_multiple, e, scope);
  }
  ExprRef operand = real_operand(a, name, scope);
  if (operand == nullptr) return error();
  return Value::of_element(ir::make_unary(op, std::move(operand)), value.shape);
}

Value Elaborator::evaluate_conversion(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (!has_arguments(e, 1, fmt::format("{}(x)", name), scope)) return error();
  Value value = evaluate(e.arguments[0].value, scope.for_arguments());
  if (value.is_error()) return error();
  if (name == "i32") {
    if (value.kind == ValueKind::real) {
      // As at run time: toward zero, saturating, NaN to 0.
      const double low = std::numeric_limits<int32_t>::min();
      const double high = std::numeric_limits<int32_t>::max();
      if (std::isnan(value.real)) return Value::of_number(0);
      return Value::of_number(
          static_cast<int64_t>(std::trunc(std::min(std::max(value.real, low), high))));
    }
    if (value.kind == ValueKind::integer) return value;
    if (value.kind == ValueKind::boolean) return Value::of_number(value.boolean ? 1 : 0);
    if (value.is_boolean()) {
      return Value::of_element(
          fold_select(value.expression, ir::make_integer(1), ir::make_integer(0)), value.shape);
    }
    if (value.is_typed_real()) {
      // The rounding is that of i32; integers are computed with as i64.
      return Value::of_element(
          ir::make_convert(ScalarType::i64, ir::make_convert(ScalarType::i32, value.expression)),
          value.shape);
    }
    return Value::of_element(value.expression, value.shape);
  }
  ScalarType type = options_.real;
  if (name == "f32") type = ScalarType::f32;
  if (name == "f64") type = ScalarType::f64;
  if (value.is_boolean()) {
    if (value.kind == ValueKind::boolean) return Value::of_real(value.boolean ? 1 : 0);
    return Value::of_element(
        fold_select(value.expression, ir::make_real(1, type), ir::make_real(0, type)), value.shape);
  }
  if (value.is_constant()) {
    const bool varies = value.kind == ValueKind::integer && value.integer.per_row != 0;
    if (scope.wants_constant() && varies) {
      return report_size_mistake(SizeMistake::not_multiple, e, scope);
    }
    if (scope.wants_constant() || (type == options_.real && !varies)) {
      return Value::of_real(
          value.kind == ValueKind::real ? value.real : static_cast<double>(value.integer.maximum));
    }
  }
  if (ExprRef same_value = as_expression(value, type)) {
    return Value::of_element(std::move(same_value), value.shape);
  }
  return Value::of_element(ir::make_convert(type, value.expression), value.shape);
}

Value Elaborator::evaluate_extreme(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (!has_arguments(e, 2, fmt::format("{}(a, b)` or `{}(i: ...)", name, name), scope)) {
    return error();
  }
  Operand a = {&e.arguments[0].value, evaluate(e.arguments[0].value, scope.for_arguments())};
  Operand b = {&e.arguments[1].value, evaluate(e.arguments[1].value, scope.for_arguments())};
  const bool left = is_number_operand(a, name, scope);
  const bool right = is_number_operand(b, name, scope);
  if (!left || !right) return error();
  const bool is_max = name == "max";
  if (a.value.kind == ValueKind::integer && b.value.kind == ValueKind::integer) {
    if (std::optional<int> order = compare_sizes(a.value.integer, b.value.integer)) {
      return (is_max ? *order < 0 : *order > 0) ? b.value : a.value;
    }
    if (scope.wants_constant()) {
      return report_size_mistake(SizeMistake::not_multiple, e, scope);
    }
  } else if (a.value.is_constant() && b.value.is_constant() &&
             (a.value.kind == ValueKind::real || a.value.is_number()) &&
             (b.value.kind == ValueKind::real || b.value.is_number())) {
    auto real_of = [](const Value& value) {
      return value.kind == ValueKind::real ? value.real
                                           : static_cast<double>(value.integer.maximum);
    };
    const double x = real_of(a.value);
    const double y = real_of(b.value);
    if (std::isnan(x) || std::isnan(y)) return Value::of_real(x + y);
    return Value::of_real((is_max ? y > x : y < x) ? y : x);
  }
  std::optional<Pair> pair = unify(a, b, name, e.name.span, scope);
  if (!pair) return error();
  return Value::of_element(fold_binary(is_max ? Op::maximum : Op::minimum, pair->a, pair->b),
                           std::move(pair->shape), pair->is_flexible);
}

Value Elaborator::evaluate_random(const ast::Expression& e, const Scope& scope) {
  if (!has_arguments(e, 0, fmt::format("{}()", e.name.text), scope)) return error();
  if (scope.position == nullptr || scope.wants_constant()) {
    report(scope, Complaint("E0108", e.span, "a random number cannot be drawn here",
                            "no element is defined here")
                      .note("each element of a tensor gets its own random number"));
    return error();
  }
  const std::string key =
      fmt::format("{}#{}", statement_->random_key, ++statement_->random_numbers);
  int64_t stream = stable_hash(key);
  // Equal hashes of different draws would make them equal numbers.
  while (!current_->streams.insert(stream).second) stream = (stream + 1) & 0xffffffff;
  const Op op = e.name.text == "rand" ? Op::rand : Op::normal;
  return Value::of_element(ir::make_random(op, stream, scope.position, options_.real));
}

Value Elaborator::evaluate_size_of(const ast::Expression& e, const Scope& scope) {
  if (!has_arguments(e, 1, "size(t)", scope)) return error();
  const ast::Expression& text = e.arguments[0].value;
  if (text.kind == ExpressionKind::invalid) return error();
  if (text.kind == ExpressionKind::name && scope.frame != nullptr) {
    auto found = scope.frame->names.find(text.name.text);
    if (found != scope.frame->names.end()) {
      found->second.is_read = true;
      if (found->second.kind == NameMeaning::Kind::error) return error();
      if (found->second.kind == NameMeaning::Kind::tensor) {
        const TensorFacts& facts = current_->tensors.find(found->second.tensor)->second;
        SizeResult count = element_count(facts.shape, options_.batch.value_or(1));
        if (count.mistake != SizeMistake::none) return report_size_mistake(count.mistake, e, scope);
        return Value::of_integer(count.value);
      }
    } else {
      return report_unknown_name(text.name, text.span, scope);
    }
  }
  report(scope, Complaint("E0108", text.span, "`size` needs the name of a tensor",
                          "this is something else")
                    .note("`size(t)` is the number of elements of `t`"));
  return error();
}

Value Elaborator::evaluate_tagged(const ast::Expression& e, const Scope& scope) {
  if (!has_arguments(e, 1, "tagged(\"nodecay\")", scope)) return error();
  const ast::Expression& text = e.arguments[0].value;
  if (scope.tags == nullptr) {
    report(scope, Complaint("E0108", e.span, "`tagged` is known in optimizers only",
                            "there is no parameter here"));
    return error();
  }
  if (text.kind == ExpressionKind::invalid) return error();
  if (text.kind != ExpressionKind::string) {
    report(scope, Complaint("E0108", text.span, "`tagged` needs a tag, as a string", "")
                      .help("write `tagged(\"nodecay\")`"));
    return error();
  }
  return Value::of_boolean(std::find(scope.tags->begin(), scope.tags->end(), text.text) !=
                           scope.tags->end());
}

// ---------------------------------------------------------------- reshape

std::optional<ir::Shape> Elaborator::list_of_sizes(const ast::Expression& list,
                                                   const Scope& scope) {
  if (list.kind == ExpressionKind::invalid) return std::nullopt;
  if (list.kind != ExpressionKind::list) {
    report(scope, Complaint("E0108", list.span, "`reshape` needs a list of sizes", "")
                      .help("write `reshape(t, [B, 784])`"));
    return std::nullopt;
  }
  ir::Shape shape;
  bool ok = true;
  for (const ast::Expression& size : list.operands) {
    if (size.kind == ExpressionKind::ellipsis) {
      if (scope.frame != nullptr && scope.frame->pack) {
        shape.insert(shape.end(), scope.frame->pack->begin(), scope.frame->pack->end());
        continue;
      }
      report(scope, Complaint("E0108", size.span, "`...` stands for no sizes here", ""));
      ok = false;
      continue;
    }
    std::optional<ir::Extent> extent = evaluate_size(size, scope.with_mode(Scope::Mode::size), 1);
    ok = ok && extent;
    if (extent) shape.push_back(*extent);
  }
  if (!ok) return std::nullopt;
  return shape;
}

Value Elaborator::evaluate_reshape(const ast::Expression& e, const Scope& scope) {
  if (!has_arguments(e, 2, "reshape(t, [sizes])", scope)) return error();
  if (scope.wants_constant()) return report_not_constant(e, scope, "a tensor is made at run time");
  const ast::Expression& text = e.arguments[0].value;
  const ast::Expression& list = e.arguments[1].value;
  Value value = evaluate(text, scope.with_mode(Scope::Mode::whole));
  std::optional<ir::Shape> shape = list_of_sizes(list, scope);
  if (value.is_error() || !shape) return error();
  if (value.kind != ValueKind::element) {
    report(scope, Complaint("E0108", text.span, "`reshape` needs a tensor", "this is a number"));
    return error();
  }
  const int64_t batch = options_.batch.value_or(1);
  const SizeResult have = element_count(value.shape, batch);
  const SizeResult want = element_count(*shape, batch);
  const bool is_known = have.mistake == SizeMistake::none && want.mistake == SizeMistake::none;
  if (!is_known || !(have.value == want.value)) {
    Complaint complaint(
        "E0302", list.span,
        fmt::format("cannot reshape {} to {}", shape_text(value.shape), shape_text(*shape)),
        is_known ? fmt::format("{} elements, but `{}` has {}", size_text(want.value),
                               quote(text.span), size_text(have.value))
                 : "the numbers of elements cannot be compared");
    // The sizes behind the batch usually become one.
    if (is_known && value.shape.size() > 2 && shape->size() == 2) {
      std::string product;
      ir::Shape rest(value.shape.begin() + 1, value.shape.end());
      for (const ir::Extent& extent : rest) {
        product += (product.empty() ? "" : " * ") + size_text(extent);
      }
      const SizeResult count = element_count(rest, batch);
      if (count.mistake == SizeMistake::none) {
        complaint.help(fmt::format("{} is {}", product, size_text(count.value)));
      }
    }
    report(scope, std::move(complaint));
    return error();
  }
  if (scope.mode == Scope::Mode::element && !shape->empty()) {
    report(scope, Complaint("E0205", e.span,
                            fmt::format("the result of `reshape` has rank {} but is not indexed",
                                        shape->size()),
                            "")
                      .help("give it a name first: `t = reshape(...)`"));
    return error();
  }
  // Random numbers belong to the position of the element that is drawn, so they are drawn first.
  if (mentions_random(value.expression)) {
    value = tensor_value(
        materialise(value, stored_type(value), statement_->name + "_value", text.span));
  }
  std::vector<ExprRef> indices;
  for (size_t d = 0; d < shape->size(); ++d) indices.push_back(ir::make_index(whole_index(d)));
  std::optional<std::vector<ExprRef>> from = reshaped_indices(value.shape, *shape, indices, batch);
  if (!from) {
    report(scope, Complaint("E0210", e.span, "this reshape mixes the batch with other dimensions",
                            fmt::format("{} to {}", shape_text(value.shape), shape_text(*shape)))
                      .note("the number of rows is known at run time only, so `B` stays in front"));
    return error();
  }
  std::map<std::string, ExprRef> by_name;
  for (size_t d = 0; d < from->size(); ++d) by_name[whole_index(d)] = (*from)[d];
  return Value::of_element(ir::substitute(value.expression, by_name), std::move(*shape),
                           value.is_flexible);
}

}  // namespace fusegrad::frontend
