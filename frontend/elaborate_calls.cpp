// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls: arguments are matched with parameters, functions of a file are inlined.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ir::ExprRef;
using ir::Op;
using ir::ScalarType;

namespace {

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
  if (scope.wants_constant()) {
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
  stable_names_.reached.insert(&function);
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
    arguments.push_back(argument != nullptr ? evaluate(argument->value, scope.for_arguments())
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
  inner.mode = scope.wants_constant() ? Scope::Mode::constant : Scope::Mode::element;
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

bool Elaborator::are_derivatives_of_parameters(const ast::Function& function, const Scope& inner) {
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
    return false;
  }
  return true;
}

Value Elaborator::evaluate_custom(const ast::Function& function, const Scope& inner,
                                  const Value& value) {
  if (value.is_error()) return error();
  if (!are_derivatives_of_parameters(function, inner)) return error();
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

}  // namespace fusegrad::frontend
