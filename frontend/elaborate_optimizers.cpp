// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An optimizer, or a transform of gradients, becomes for each parameter the rule that changes one
// element.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::StatementKind;
using ir::ExprRef;

namespace {

/// Not the name of any parameter or state of a model: `optimizer` is a word of the language.
constexpr const char* learning_rate_state = "optimizer.lr";

Value rule_variable(const std::string& name, ir::ScalarType type) {
  ir::Expr node;
  node.op = ir::Op::variable;
  node.type = {type};
  node.name = name;
  return Value::of_element(ir::make_node(std::move(node)));
}

}  // namespace

std::optional<ir::UpdateRule> Elaborator::elaborate_update_rule(
    const ast::Expression& call, const std::vector<std::string>& tags,
    const ast::Expression* learning_rate, Totals* totals) {
  const ast::Optimizer* optimizer = definitions_.optimizer(call.name.text);
  const bool is_transform = totals != nullptr;
  // An optimizer is for a parameter and its gradient; a transform may leave the parameter out.
  if (optimizer == nullptr || optimizer->subjects.empty()) return std::nullopt;
  stable_names_.reached.insert(optimizer);
  if (!is_transform && optimizer->subjects.size() != 2) return std::nullopt;
  const size_t errors_before = reporter_.error_count();
  StatementGuard guard(*this, "update", call.span, nullptr);

  std::vector<Formal> formals;
  std::string signature = optimizer->name.text + "(";
  for (const ast::ValueParameter& parameter : optimizer->parameters) {
    const bool is_replaced = learning_rate != nullptr && parameter.name.text == "lr";
    formals.push_back({parameter.name.text, parameter.default_value.has_value() || is_replaced});
    if (formals.size() > 1) signature += ", ";
    signature += quote(parameter.span);
  }
  signature += ")";
  Scope outside;
  outside.mode = Scope::Mode::element;
  outside.has_step = true;
  outside.tags = &tags;
  outside.totals = totals;
  std::optional<std::vector<const ast::Argument*>> actual =
      match_arguments(call, formals, signature, "E0703", outside);
  if (!actual) return std::nullopt;

  ir::UpdateRule rule;
  rule.origin = optimizer->span;
  Scope scope = outside;
  scope.from_library = definitions_.is_library(optimizer->span);
  for (size_t i = 0; i < formals.size(); ++i) {
    const ast::ValueParameter& parameter = optimizer->parameters[i];
    const ast::Argument* argument = (*actual)[i];
    const bool is_rate = parameter.name.text == "lr" && !is_transform;
    const ast::Expression* text = argument != nullptr       ? &argument->value
                                  : parameter.default_value ? &*parameter.default_value
                                                            : learning_rate;
    Value value = evaluate(*text, argument != nullptr ? outside : scope);
    if (is_rate) value = learning_rate_setting(*text, value, learning_rate, outside, rule);
    scope.locals[parameter.name.text] = std::move(value);
  }
  scope.calls.push_back(call.span);

  const ir::ScalarType real = options_.real;
  const std::string parameter =
      optimizer->subjects.size() == 2 ? optimizer->subjects[0].text : std::string();
  const std::string gradient = optimizer->subjects.back().text;
  const std::string& subject = is_transform ? gradient : parameter;
  if (!parameter.empty()) scope.locals[parameter] = rule_variable("p", real);
  scope.locals[gradient] = rule_variable("g", real);

  std::map<std::string, std::string> targets = {{subject, is_transform ? "g" : "p"}};
  std::map<std::string, Span> updated;
  std::map<std::string, Span> states;
  auto number = [&](const ast::Expression& text, const Scope& inside) -> ExprRef {
    Operand value = {&text, evaluate(text, inside)};
    ExprRef expression = real_operand(value, "<-", inside);
    if (expression != nullptr && expression->type.scalar != real) {
      report(inside, Complaint("E0401", text.span, "a rule computes with `real`",
                               fmt::format("this is {}", type_text(value.value))));
      return nullptr;
    }
    return expression;
  };
  for (const ast::Statement& statement : optimizer->body) {
    if (statement.names.empty() || statement.names[0].text.empty()) continue;
    const ast::Identifier& name = statement.names[0];
    const bool is_known = scope.locals.contains(name.text);
    switch (statement.kind) {
      case StatementKind::state: {
        if (is_known) {
          report(scope,
                 Complaint("E0106", name.span, fmt::format("`{}` is defined twice", name.text),
                           "defined again"));
          break;
        }
        // The names `p` and `g` are taken in rules, whatever the subjects are called.
        std::string tensor = name.text;
        if (tensor == "p" || tensor == "g") tensor += "_state";
        Scope initial = scope;
        initial.locals.erase(parameter);
        initial.locals.erase(gradient);
        initial.totals = nullptr;
        ExprRef value = number(statement.value, initial);
        if (value != nullptr) rule.states.push_back({tensor, std::move(value)});
        targets[name.text] = tensor;
        states[name.text] = name.span;
        scope.locals[name.text] = rule_variable(tensor, real);
        break;
      }
      case StatementKind::bind:
        if (auto state = states.find(name.text); state != states.end()) {
          report(
              scope,
              Complaint("E0004", statement.operator_span, "state is changed with `<-`, not `=`",
                        "this would define a new value and leave the state as it was")
                  .other(state->second, "state declared here")
                  .help(fmt::format("write `{} <- {}`", name.text, quote(statement.value.span))));
          break;
        }
        scope.locals[name.text] = evaluate(statement.value, scope);
        break;
      case StatementKind::update: {
        auto target = targets.find(name.text);
        if (target == targets.end()) {
          std::vector<std::string> candidates;
          for (const auto& [candidate, tensor] : targets) candidates.push_back(candidate);
          report(scope, Complaint("E0602", name.span, fmt::format("`{}` is not a state", name.text),
                                  is_transform ? "only states and the gradient change with `<-`"
                                               : "only states and the parameter change with `<-`")
                            .did_you_mean(name.text, candidates));
          break;
        }
        auto [earlier, is_first] = updated.emplace(name.text, statement.left_span);
        if (!is_first) {
          report(scope, Complaint("E0601", statement.left_span,
                                  fmt::format("`{}` is updated twice in one step", name.text),
                                  "second update")
                            .other(earlier->second, "first update")
                            .note("a state name always means its value at the start of the step"));
          break;
        }
        ExprRef value = number(statement.value, scope);
        if (value != nullptr) rule.updates.push_back({target->second, std::move(value)});
        break;
      }
      case StatementKind::constant:
      case StatementKind::parameter:
      case StatementKind::require:
      case StatementKind::when:
      case StatementKind::repeat:
      case StatementKind::define:
      case StatementKind::input:
      case StatementKind::output:
      case StatementKind::loss:
      case StatementKind::metric:
        break;  // the parser reported it
    }
  }
  if (!updated.contains(subject) && reporter_.error_count() == errors_before) {
    report(scope, Complaint("E0602", optimizer->name.span,
                            is_transform ? fmt::format("`{}` never changes the gradient",
                                                       optimizer->name.text)
                                         : fmt::format("the optimizer `{}` never changes the "
                                                       "parameter",
                                                       optimizer->name.text),
                            fmt::format("there is no `{} <- ...`", subject)));
  }
  if (reporter_.error_count() != errors_before) return std::nullopt;
  if (is_transform) rule.totals = std::move(totals->of_parameter);
  return rule;
}

Value Elaborator::learning_rate_setting(const ast::Expression& text, const Value& own,
                                        const ast::Expression* replacement, const Scope& outside,
                                        ir::UpdateRule& rule) {
  const auto is_known = [](const Value& value) {
    return value.kind == ValueKind::real || value.is_number();
  };
  const auto number = [](const Value& value) {
    return value.kind == ValueKind::real ? value.real : static_cast<double>(value.integer.maximum);
  };
  const Value given = replacement == nullptr ? own : evaluate(*replacement, outside);
  if (given.is_error() || own.is_error()) return error();
  if (is_known(own)) {
    learning_rate_differs_ = learning_rate_differs_ || (own_rate_ && *own_rate_ != number(own));
    own_rate_ = number(own);
  }
  // The form of the rule follows from the model file alone: what the command line gives changes a
  // number and no bit of the code. Infinite stands for "as the model file has it".
  const ir::ScalarType real = options_.real;
  ExprRef set = ir::make_read(learning_rate_state, ir::ScalarType::f64, {});
  if (real != ir::ScalarType::f64) set = ir::make_convert(real, set);
  constexpr double unset = std::numeric_limits<double>::infinity();
  if (is_known(own) && is_known(given) && !learning_rate_differs_) {
    rule.settings.push_back({learning_rate_state, number(given)});
    return Value::of_element(set);
  }
  const bool is_number = replacement != nullptr && is_known(given);
  const Operand schedule = {is_number || replacement == nullptr ? &text : replacement,
                            is_number ? own : given};
  ExprRef otherwise = real_operand(schedule, "lr", outside);
  if (otherwise == nullptr || otherwise->type.scalar != real) return schedule.value;
  rule.settings.push_back({learning_rate_state, is_number ? number(given) : unset});
  ExprRef is_set = ir::make_binary(ir::Op::less, set, ir::make_real(unset, real));
  return Value::of_element(ir::make_select(is_set, set, otherwise));
}

Value Elaborator::evaluate_total(const ast::Expression& e, const Scope& scope) {
  if (!has_arguments(e, 1, "total(e)", scope)) return error();
  if (scope.totals == nullptr) {
    report(scope, Complaint("E0108", e.span, "`total` is known in gradient transforms only",
                            "there are no gradients of all parameters here")
                      .note("it is the sum over all elements of all parameters"));
    return error();
  }
  Operand value = {&e.arguments[0].value, evaluate(e.arguments[0].value, scope)};
  ExprRef expression = real_operand(value, "total", scope);
  if (expression == nullptr) return error();
  if (expression->type.scalar != options_.real) {
    report(scope, Complaint("E0401", e.arguments[0].value.span, "a rule computes with `real`",
                            fmt::format("this is {}", type_text(value.value))));
    return error();
  }
  // Rules of all parameters are made from one text: the place tells which totals are the same.
  std::string place = fmt::format("{}:{}", e.span.file, e.span.begin);
  for (const Span& call : scope.calls) place += fmt::format(" {}:{}", call.file, call.begin);
  const size_t next = scope.totals->name_by_place.size() + 1;
  const std::string& name =
      scope.totals->name_by_place.try_emplace(place, fmt::format("total.{}", next)).first->second;
  std::vector<ir::UpdateRule::Total>& known = scope.totals->of_parameter;
  const bool is_known = std::any_of(known.begin(), known.end(),
                                    [&](const auto& total) { return total.name == name; });
  if (!is_known) known.push_back({name, std::move(expression)});
  return rule_variable(name, options_.real);
}

}  // namespace fusegrad::frontend
