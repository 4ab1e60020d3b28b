// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls: functions of the file are inlined, functions of the language become operators.
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

bool wants_constant(const Scope& scope) {
  return scope.mode == Scope::Mode::constant || scope.mode == Scope::Mode::size;
}

/// Arguments are values of any type even where a size is wanted in the end.
Scope argument_scope(const Scope& scope) {
  Scope result = scope;
  if (scope.mode == Scope::Mode::size) result.mode = Scope::Mode::constant;
  return result;
}

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

std::string count_text(size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

// ---------------------------------------------------------------- what is called

Value Elaborator::evaluate_call(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (name.empty()) return error();
  if (definitions_.layer(name, scope.from_library) != nullptr) {
    std::vector<Value> outputs = evaluate_call_outputs(e, scope);
    if (outputs.empty()) return error();
    if (outputs.size() > 1) {
      report(scope,
             Complaint("E0107", e.span, fmt::format("`{}` gives {} tensors", name, outputs.size()),
                       "one is wanted here")
                 .help(fmt::format("bind all of them first: `a, b = {}(...)`", name)));
      return error();
    }
    Value value = outputs[0];
    if (scope.mode == Scope::Mode::element && !value.is_error() && !value.shape.empty()) {
      report(scope, Complaint("E0205", e.span,
                              fmt::format("the result of `{}` has rank {} but is not indexed", name,
                                          value.shape.size()),
                              fmt::format("this is `{}`", tensor_text(value)))
                        .help(fmt::format("give it a name first: `t = {}(...)`", name)));
      return error();
    }
    return value;
  }
  const ast::Function* function = definitions_.function(name, scope.from_library);
  if (function == nullptr && !is_builtin_function(name)) {
    Complaint complaint("E0102", e.name.span,
                        fmt::format("there is no layer or function `{}`", name), "not defined");
    complaint.did_you_mean(name, definitions_.callable_names(scope.from_library));
    if (definitions_.optimizer(name) != nullptr) {
      complaint.note(fmt::format("`{}` is an optimizer; it is named in the train block", name));
    } else if (e.name.is_dimension()) {
      complaint.note("layers start with a lower-case letter; `fusegrad list` prints all of them");
    } else {
      complaint.note("`fusegrad list` prints all layers and functions");
    }
    report(scope, std::move(complaint));
    return error();
  }
  if (!e.instance.text.empty() || !e.initialisers.empty()) {
    const Span span = !e.instance.text.empty() ? e.instance.span : e.initialisers[0].span;
    report(scope, Complaint("E0108", span, fmt::format("`{}` is a function, not a layer", name),
                            "only layers have instances with parameters"));
    return error();
  }
  return function != nullptr ? evaluate_function(*function, e, scope) : evaluate_builtin(e, scope);
}

bool Elaborator::is_layer_call_possible(const ast::Expression& e, const Scope& scope) {
  if (scope.frame == nullptr) {
    report(scope, Complaint("E0108", e.span,
                            fmt::format("the layer `{}` cannot be used here", e.name.text), "")
                      .note("functions, constants and optimizers are made of scalars; layers are "
                            "used in layers and models"));
    return false;
  }
  if (wants_constant(scope)) {
    report_not_constant(e, scope, "a layer is computed at run time");
    return false;
  }
  return true;
}

std::vector<Value> Elaborator::evaluate_call_outputs(const ast::Expression& e, const Scope& scope) {
  const ast::Layer* layer = definitions_.layer(e.name.text, scope.from_library);
  if (!is_layer_call_possible(e, scope)) {
    return std::vector<Value>(layer->outputs.size(), error());
  }
  return instantiate(*layer, e, scope.with_mode(Scope::Mode::whole));
}

std::optional<std::vector<const ast::Argument*>> Elaborator::match_arguments(
    const ast::Expression& call, std::span<const Formal> formals, std::string_view signature,
    std::string_view unknown_code, const Scope& scope) {
  const std::string& callee = call.name.text;
  std::vector<const ast::Argument*> actual(formals.size(), nullptr);
  bool ok = true;
  size_t position = 0;
  for (const ast::Argument& argument : call.arguments) {
    size_t which = formals.size();
    if (argument.name.text.empty()) {
      which = position++;
      if (which >= formals.size()) {
        if (position == formals.size() + 1) {
          report(scope, Complaint("E0107", argument.span,
                                  fmt::format("`{}` takes {}", callee,
                                              count_text(formals.size(), "argument")),
                                  "one too many")
                            .note(fmt::format("`{}`", signature)));
        }
        ok = false;
        continue;
      }
    } else {
      for (size_t i = 0; i < formals.size(); ++i) {
        if (formals[i].name == argument.name.text) which = i;
      }
      if (which == formals.size()) {
        std::vector<std::string> names;
        for (const Formal& formal : formals) names.emplace_back(formal.name);
        Complaint complaint(unknown_code, argument.name.span,
                            fmt::format("`{}` has no argument `{}`", callee, argument.name.text),
                            fmt::format("not an argument of `{}`", signature));
        complaint.did_you_mean(argument.name.text, names);
        if (formals.size() == 1 && complaint.diagnostic().helps.empty()) {
          complaint.help(fmt::format("write `{}({} = {})`", callee, formals[0].name,
                                     quote(argument.value.span)));
        }
        report(scope, std::move(complaint));
        ok = false;
        continue;
      }
    }
    if (actual[which] != nullptr) {
      report(scope, Complaint("E0107", argument.span,
                              fmt::format("the argument `{}` of `{}` is given twice",
                                          formals[which].name, callee),
                              "given again")
                        .other(actual[which]->span, "first given here"));
      ok = false;
      continue;
    }
    actual[which] = &argument;
  }
  // A name that was not understood may well have been the missing one.
  if (!ok) return std::nullopt;
  for (size_t i = 0; i < formals.size(); ++i) {
    if (actual[i] != nullptr || formals[i].has_default) continue;
    report(scope, Complaint("E0107", call.span,
                            fmt::format("`{}` needs the argument `{}`", callee, formals[i].name),
                            "not given")
                      .note(fmt::format("`{}`", signature)));
    return std::nullopt;
  }
  return actual;
}

// ---------------------------------------------------------------- functions of the file

Value Elaborator::evaluate_function(const ast::Function& function, const ast::Expression& call,
                                    const Scope& scope) {
  if (scope.calls.size() >= static_cast<size_t>(max_call_depth)) {
    report(scope,
           Complaint("E0109", call.span,
                     fmt::format("calls of functions are nested more than {} deep", max_call_depth),
                     fmt::format("here `{}` is called once more", function.name.text))
               .note("a function that calls itself never ends: calls are inlined"));
    return error();
  }
  std::vector<Formal> formals;
  std::string signature = function.name.text + "(";
  for (const ast::ValueParameter& parameter : function.parameters) {
    formals.push_back({parameter.name.text, parameter.default_value.has_value()});
    if (formals.size() > 1) signature += ", ";
    signature += quote(parameter.span);
  }
  signature += ")";
  std::optional<std::vector<const ast::Argument*>> actual =
      match_arguments(call, formals, signature, "E0107", scope);
  if (!actual) return error();

  // Arguments are the caller's; from here on one report is enough.
  std::vector<Value> arguments;
  for (const ast::Argument* argument : *actual) {
    arguments.push_back(argument != nullptr ? evaluate(argument->value, argument_scope(scope))
                                            : error());
  }
  const std::optional<int64_t> outer_reports = reports_at_call_;
  const std::string outer_argument = integer_argument_;
  if (scope.calls.empty()) {
    reports_at_call_ = report_count_;
    integer_argument_.clear();
    for (size_t i = arguments.size(); i > 0; --i) {
      if (arguments[i - 1].is_typed_integer())
        integer_argument_ = quote((*actual)[i - 1]->value.span);
    }
  }

  Scope inner;
  inner.mode = wants_constant(scope) ? Scope::Mode::constant : Scope::Mode::element;
  inner.from_library = definitions_.is_library(function.span);
  inner.position = scope.position;
  inner.has_step = scope.has_step;
  inner.tags = scope.tags;
  inner.totals = scope.totals;
  inner.calls = scope.calls;
  inner.calls.push_back(call.span);
  inner.site = scope.frame != nullptr ? scope.frame : scope.site;
  for (size_t i = 0; i < formals.size(); ++i) {
    const ast::ValueParameter& parameter = function.parameters[i];
    inner.locals[parameter.name.text] = (*actual)[i] != nullptr
                                            ? std::move(arguments[i])
                                            : evaluate(*parameter.default_value, inner);
  }
  for (const ast::Statement& binding : function.bindings) {
    if (binding.names.empty()) continue;
    inner.locals[binding.names[0].text] = evaluate(binding.value, inner);
  }
  Value value = evaluate(function.result, inner);
  if (!function.derivatives.empty()) value = evaluate_custom(function, inner, value);
  reports_at_call_ = outer_reports;
  integer_argument_ = outer_argument;
  return value;
}

Value Elaborator::evaluate_custom(const ast::Function& function, const Scope& inner,
                                  const Value& value) {
  if (value.is_error()) return error();
  for (const ast::Derivative& derivative : function.derivatives) {
    const std::string& name = derivative.parameter.text;
    bool is_parameter = false;
    for (const ast::ValueParameter& parameter : function.parameters) {
      is_parameter = is_parameter || parameter.name.text == name;
    }
    if (is_parameter) continue;
    report(inner, Complaint("E0101", derivative.parameter.span,
                            fmt::format("`{}` has no parameter `{}`", function.name.text, name),
                            "not a parameter"));
    return error();
  }
  if (!value.is_typed_real()) return value;  // no derivative can be asked for
  const ScalarType type = value.expression->type.scalar;
  ir::Expr node;
  node.op = Op::custom;
  node.type = {type};
  node.operands = {value.expression};
  ir::Shape shape = value.shape;
  for (const ast::Derivative& derivative : function.derivatives) {
    const Value& argument = inner.locals.find(derivative.parameter.text)->second;
    if (argument.is_error()) return error();
    if (!argument.is_typed_real()) continue;  // a literal or a size
    Operand slope = {&derivative.value, evaluate(derivative.value, inner)};
    ExprRef slope_expression = real_operand(slope, "deriv", inner);
    if (slope_expression == nullptr) return error();
    if (argument.expression->type.scalar != type || slope_expression->type.scalar != type) {
      report(inner, Complaint("E0401", derivative.span,
                              fmt::format("`{}`, its argument and its derivative must have one "
                                          "type",
                                          function.name.text),
                              ""));
      return error();
    }
    for (const ir::Shape& other : {argument.shape, slope.value.shape}) {
      if (shape.empty()) shape = other;
    }
    node.operands.push_back(argument.expression);
    node.operands.push_back(std::move(slope_expression));
  }
  if (node.operands.size() == 1) return value;
  return Value::of_element(ir::make_node(std::move(node)), std::move(shape));
}

// ---------------------------------------------------------------- functions of the language

bool Elaborator::has_arguments(const ast::Expression& e, size_t count, std::string_view signature,
                               const Scope& scope) {
  bool is_positional = true;
  for (const ast::Argument& argument : e.arguments) {
    is_positional = is_positional && argument.name.text.empty();
  }
  if (is_positional && e.arguments.size() == count) return true;
  report(scope, Complaint("E0107", e.span,
                          fmt::format("`{}` takes {}{}", e.name.text, count_text(count, "argument"),
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
    Value value = evaluate(e.arguments[0].value, argument_scope(scope));
    if (!value.is_typed_real()) return value;
    return Value::of_element(ir::make_unary(Op::stop_gradient, value.expression), value.shape);
  }
  report(scope, Complaint("E0902", e.span, fmt::format("`{}` is not supported yet", name), ""));
  return error();
}

Value Elaborator::evaluate_real_function(Op op, const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (!has_arguments(e, 1, fmt::format("{}(x)", name), scope)) return error();
  Operand a = {&e.arguments[0].value, evaluate(e.arguments[0].value, argument_scope(scope))};
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
  if (wants_constant(scope) && value.kind == ValueKind::integer) {
    return report_size_mistake(SizeMistake::not_multiple, e, scope);
  }
  ExprRef operand = real_operand(a, name, scope);
  if (operand == nullptr) return error();
  return Value::of_element(ir::make_unary(op, std::move(operand)), value.shape);
}

Value Elaborator::evaluate_conversion(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (!has_arguments(e, 1, fmt::format("{}(x)", name), scope)) return error();
  Value value = evaluate(e.arguments[0].value, argument_scope(scope));
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
    if (wants_constant(scope) && varies) {
      return report_size_mistake(SizeMistake::not_multiple, e, scope);
    }
    if (wants_constant(scope) || (type == options_.real && !varies)) {
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
  Operand a = {&e.arguments[0].value, evaluate(e.arguments[0].value, argument_scope(scope))};
  Operand b = {&e.arguments[1].value, evaluate(e.arguments[1].value, argument_scope(scope))};
  const bool left = is_number_operand(a, name, scope);
  const bool right = is_number_operand(b, name, scope);
  if (!left || !right) return error();
  const bool is_max = name == "max";
  if (a.value.kind == ValueKind::integer && b.value.kind == ValueKind::integer) {
    if (std::optional<int> order = compare_sizes(a.value.integer, b.value.integer)) {
      return (is_max ? *order < 0 : *order > 0) ? b.value : a.value;
    }
    if (wants_constant(scope)) {
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
  if (scope.position == nullptr || wants_constant(scope)) {
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
  if (wants_constant(scope)) return report_not_constant(e, scope, "a tensor is made at run time");
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
