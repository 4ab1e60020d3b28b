// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What operators and names mean: constants are computed, everything else becomes an expression of
// T.
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
using ir::ScalarType;

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

bool wants_constant(const Scope& scope) {
  return scope.mode == Scope::Mode::constant || scope.mode == Scope::Mode::size;
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

// ---------------------------------------------------------------- names

Value Elaborator::tensor_value(const std::string& tensor) const {
  const TensorFacts& facts = current_->tensors.find(tensor)->second;
  std::vector<ExprRef> indices;
  for (size_t d = 0; d < facts.shape.size(); ++d) {
    indices.push_back(ir::make_index(whole_index(d)));
  }
  return Value::of_element(ir::make_read(tensor, facts.type, std::move(indices)), facts.shape);
}

Value Elaborator::evaluate_name(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (const Scope::Index* index = scope.find_index(name)) {
    return Value::of_element(ir::make_index(index->internal));
  }
  auto local = scope.locals.find(name);
  if (local != scope.locals.end()) return local->second;

  if (scope.frame != nullptr) {
    auto found = scope.frame->names.find(name);
    if (found != scope.frame->names.end()) {
      NameMeaning& meaning = found->second;
      meaning.is_read = true;
      if (meaning.kind == NameMeaning::Kind::error) return error();
      if (meaning.kind == NameMeaning::Kind::constant) return meaning.constant;
      if (wants_constant(scope)) {
        return report_not_constant(e, scope, fmt::format("`{}` is a tensor", name));
      }
      Value value = tensor_value(meaning.tensor);
      if (scope.mode == Scope::Mode::element && !value.shape.empty()) {
        report(scope, Complaint("E0205", e.span,
                                fmt::format("`{}` has rank {} but is not indexed", name,
                                            value.shape.size()),
                                fmt::format("this is `{}`", tensor_text(value)))
                          .other(meaning.span, "defined here")
                          .note("where elements are defined one by one, every tensor is indexed")
                          .help(fmt::format("write `{}[...]` with {} {}", name, value.shape.size(),
                                            value.shape.size() == 1 ? "index" : "indices")));
        return error();
      }
      return value;
    }
  }
  if (scope.has_step && (name == "step" || name == "steps" || name == "epoch")) {
    return Value::of_element(ir::make_uniform(name), {}, true);
  }
  Value constant = file_constant(e.name, scope.from_library, scope);
  if (constant.kind != ValueKind::error) return constant;
  const FileDefinitions& library = definitions_.library();
  if ((!scope.from_library && definitions_.model().constants.contains(name)) ||
      library.constants.contains(name)) {
    return error();  // the constant itself was reported
  }
  return report_unknown_name(e.name, e.span, scope);
}

Value Elaborator::file_constant(const ast::Identifier& name, bool from_library,
                                const Scope& scope) {
  for (const bool library : {false, true}) {
    if (from_library && !library) continue;
    const FileDefinitions& file = library ? definitions_.library() : definitions_.model();
    auto found = file.constants.find(name.text);
    if (found == file.constants.end()) continue;

    const std::string key = fmt::format("{}:{}", library ? "library" : "model", name.text);
    auto known = file_constants_.find(key);
    if (known != file_constants_.end()) return known->second;
    if (!constants_in_progress_.insert(key).second) {
      report(scope, Complaint("E0109", name.span,
                              fmt::format("the constant `{}` is defined by itself", name.text),
                              "its value is needed to find its value")
                        .other(found->second->name.span, "defined here"));
      file_constants_[key] = error();
      return error();
    }
    const ast::Expression* text = &found->second->value;
    if (!library && options_.constant_overrides != nullptr) {
      auto override = options_.constant_overrides->find(name.text);
      if (override != options_.constant_overrides->end()) text = &override->second;
    }
    Scope outside;
    outside.mode = found->second->name.is_dimension() ? Scope::Mode::size : Scope::Mode::constant;
    outside.from_library = library;
    Value value = evaluate(*text, outside);
    constants_in_progress_.erase(key);
    if (outside.mode == Scope::Mode::size && !value.is_error() &&
        value.kind != ValueKind::integer) {
      reporter_.add(Complaint("E0208", text->span,
                              fmt::format("the size `{}` must be an integer", name.text),
                              fmt::format("this is {}", type_text(value)))
                        .note("names that start with a capital letter are sizes"));
      value = error();
    }
    // The first word counts if it was reported as circular meanwhile.
    return file_constants_.emplace(key, value).first->second;
  }
  return error();
}

void Elaborator::check_constants() {
  for (const auto& [name, constant] : definitions_.model().constants) {
    file_constant(constant->name, false, Scope{});
  }
}

Value Elaborator::evaluate_constant(const ast::Expression& expression) {
  return evaluate(expression, Scope{});
}

namespace {

/// The reduction in `e` that binds the index, if there is one.
const ast::Expression* find_binding_reduction(const ast::Expression& e, std::string_view index) {
  if (e.kind == ExpressionKind::reduction) {
    for (const ast::Binder& binder : e.binders) {
      if (binder.name.text == index) return &e;
    }
  }
  for (const ast::Expression& operand : e.operands) {
    if (const ast::Expression* found = find_binding_reduction(operand, index)) return found;
  }
  for (const ast::Argument& argument : e.arguments) {
    if (const ast::Expression* found = find_binding_reduction(argument.value, index)) return found;
  }
  return nullptr;
}

}  // namespace

const ast::Expression* Elaborator::binding_reduction(std::string_view index) const {
  if (statement_ == nullptr || statement_->root == nullptr) return nullptr;
  return find_binding_reduction(*statement_->root, index);
}

Value Elaborator::report_unknown_name(const ast::Identifier& name, Span span, const Scope& scope) {
  if (name.text.empty()) return error();  // the parser reported it
  const ast::Expression* reduction =
      scope.frame != nullptr ? binding_reduction(name.text) : nullptr;
  if (reduction != nullptr) {
    report(scope,
           Complaint("E0103", name.span,
                     fmt::format("index `{}` is used outside its reduction", name.text),
                     fmt::format("no `{}` here: it is not an index on the left", name.text))
               .other(reduction->span, fmt::format("`{}` exists only inside this `{}`", name.text,
                                                   ast::spelling(reduction->reduction)))
               .help("put what uses it inside the parentheses of the reduction"));
    return error();
  }
  if (definitions_.layer(name.text, scope.from_library) != nullptr ||
      definitions_.function(name.text, scope.from_library) != nullptr ||
      is_builtin_function(name.text)) {
    report(scope, Complaint("E0108", span,
                            fmt::format("`{}` is a function or a layer, not a value", name.text),
                            "call it")
                      .help(fmt::format("write `{}(...)`", name.text)));
    return error();
  }
  const std::vector<std::string> candidates = visible_names(scope);
  Complaint complaint("E0101", span,
                      fmt::format("there is no {} `{}` here",
                                  scope.frame != nullptr ? "tensor" : "value", name.text),
                      "not defined");
  complaint.did_you_mean(name.text, candidates);
  if (scope.frame != nullptr && !complaint.diagnostic().helps.empty()) {
    for (const auto& [other, meaning] : scope.frame->names) {
      if (complaint.diagnostic().helps[0] == fmt::format("did you mean `{}`?", other)) {
        complaint.other(meaning.span, "a name like it");
      }
    }
  }
  if (name.text == "step" || name.text == "steps" || name.text == "epoch") {
    complaint.note("`step`, `steps` and `epoch` are known in optimizers and their arguments");
  }
  report(scope, std::move(complaint));
  return error();
}

Value Elaborator::evaluate_dimension(const ast::Expression& e, const Scope& scope) {
  const std::string& name = e.name.text;
  if (scope.frame != nullptr) {
    auto found = scope.frame->sizes.find(name);
    if (found != scope.frame->sizes.end()) return found->second;
  }
  if (name == "B") {
    if (options_.batch) return Value::of_integer(ir::Extent::of_rows(*options_.batch));
    report(scope, Complaint("E0108", e.span, "`B` is not known here",
                            "the number of rows of a batch belongs to models"));
    return error();
  }
  Value constant = file_constant(e.name, scope.from_library, scope);
  if (!constant.is_error()) return constant;
  if ((!scope.from_library && definitions_.model().constants.contains(name)) ||
      definitions_.library().constants.contains(name)) {
    return error();
  }
  std::vector<std::string> candidates = {"B"};
  if (scope.frame != nullptr) {
    for (const auto& [size, value] : scope.frame->sizes) candidates.push_back(size);
  }
  if (!scope.from_library) {
    for (const auto& [size, item] : definitions_.model().constants) candidates.push_back(size);
  }
  report(scope,
         Complaint("E0101", e.span, fmt::format("there is no size `{}` here", name), "not defined")
             .did_you_mean(name, candidates));
  return error();
}

Value Elaborator::report_not_constant(const ast::Expression& e, const Scope& scope,
                                      std::string_view what) {
  report(scope,
         Complaint("E0211", e.span, "this value must be known at compile time", std::string(what)));
  return error();
}

Value Elaborator::report_size_mistake(SizeMistake mistake, const ast::Expression& e,
                                      const Scope& scope) {
  const Span span = e.span;
  switch (mistake) {
    case SizeMistake::none:
      break;
    case SizeMistake::overflow:
      report(scope, Complaint("E0213", span, "this number does not fit 64 bits", ""));
      break;
    case SizeMistake::divisor:
      report(scope,
             Complaint(
                 "E0213", span,
                 e.kind == ExpressionKind::binary && e.binary == BinaryOperator::power
                     ? "the exponent of an integer must not be negative"
                     : "`//` and `%` need a positive divisor",
                 fmt::format("`{}`", quote(e.operands.empty() ? span : e.operands.back().span))));
      break;
    case SizeMistake::not_multiple:
      report(scope,
             Complaint("E0210", span, "this is neither a number nor a multiple of the batch",
                       "it depends on `B` in another way")
                 .note("the number of rows of a batch is known at run time only: the last batch "
                       "may be short")
                 .help("sizes may be numbers or multiples of `B`, such as `B * 28`"));
      break;
  }
  return error();
}

// ---------------------------------------------------------------- operand types

void Elaborator::report_integer_for_real(const Operand& operand, std::string message,
                                         const Scope& scope) {
  const std::string text = quote(operand.text->span);
  Complaint complaint("E0401", operand.text->span, std::move(message),
                      named_tensor(operand.value)
                          ? fmt::format("`{}`", tensor_text(operand.value))
                          : fmt::format("this is {}", type_text(operand.value)));
  complaint.note("integers never become reals silently");
  complaint.help(
      fmt::format("write `real({})`; the conversion costs no extra pass over memory", text));
  report(scope, std::move(complaint));
}

bool Elaborator::is_number_operand(const Operand& operand, std::string_view sign,
                                   const Scope& scope) {
  if (operand.value.is_error()) return false;
  if (!operand.value.is_boolean()) return true;
  report(scope, Complaint("E0402", operand.text->span,
                          fmt::format("`{}` needs numbers, not `bool`", sign), "this is `bool`")
                    .help("write `if ... then 1 else 0`"));
  return false;
}

ExprRef Elaborator::real_operand(const Operand& operand, std::string_view sign,
                                 const Scope& scope) {
  if (!is_number_operand(operand, sign, scope)) return nullptr;
  if (operand.value.is_typed_integer()) {
    report_integer_for_real(operand,
                            fmt::format("`{}` needs reals, but `{}` is {}", sign,
                                        quote(operand.text->span), type_text(operand.value)),
                            scope);
    return nullptr;
  }
  if (operand.value.is_typed_real()) return operand.value.expression;
  return as_expression(operand.value, options_.real);
}

ExprRef Elaborator::boolean_operand(const Operand& operand, std::string_view sign,
                                    const Scope& scope) {
  if (operand.value.is_error()) return nullptr;
  if (operand.value.is_boolean()) return as_expression(operand.value, ScalarType::boolean);
  report(
      scope,
      Complaint("E0402", operand.text->span, fmt::format("`{}` needs `bool`, not a number", sign),
                fmt::format("this is {}", type_text(operand.value)))
          .help(fmt::format("write a comparison, such as `{} != 0`", quote(operand.text->span))));
  return nullptr;
}

std::optional<ir::Shape> Elaborator::common_shape(const Operand& a, const Operand& b,
                                                  Span sign_span, const Scope& scope) {
  const ir::Shape& left = a.value.shape;
  const ir::Shape& right = b.value.shape;
  if (left.empty()) return right;
  if (right.empty() || left == right) return left;
  report(scope,
         Complaint("E0301", sign_span,
                   fmt::format("the shapes of `{}` and `{}` differ", quote(a.text->span),
                               quote(b.text->span)),
                   fmt::format("{} against {}", shape_text(left), shape_text(right)))
             .note("there is no implicit broadcasting")
             .help("define the elements one by one, with an index for each dimension of each "
                   "tensor"));
  return std::nullopt;
}

std::optional<Elaborator::Pair> Elaborator::unify(const Operand& a, const Operand& b,
                                                  std::string_view sign, Span sign_span,
                                                  const Scope& scope) {
  if (a.value.is_error() || b.value.is_error()) return std::nullopt;
  std::optional<ir::Shape> shape = common_shape(a, b, sign_span, scope);
  if (!shape) return std::nullopt;
  Pair pair;
  pair.shape = std::move(*shape);
  if (a.value.is_boolean() && b.value.is_boolean()) {
    pair.a = as_expression(a.value, ScalarType::boolean);
    pair.b = as_expression(b.value, ScalarType::boolean);
    return pair;
  }
  if (a.value.is_boolean() || b.value.is_boolean()) {
    const Operand& culprit = a.value.is_boolean() ? a : b;
    const Operand& other = a.value.is_boolean() ? b : a;
    report(scope, Complaint("E0402", culprit.text->span,
                            fmt::format("`{}` of a number and a `bool`", sign), "this is `bool`")
                      .other(other.text->span, fmt::format("this is {}", type_text(other.value))));
    return std::nullopt;
  }
  const bool any_integer = a.value.is_typed_integer() || b.value.is_typed_integer();
  const bool any_real = a.value.kind == ValueKind::real || b.value.kind == ValueKind::real ||
                        a.value.is_typed_real() || b.value.is_typed_real();
  if (any_integer && any_real) {
    const Operand& culprit = a.value.is_typed_integer() ? a : b;
    report_integer_for_real(culprit,
                            fmt::format("`{}` of an integer and a real: `{}` is {}", sign,
                                        quote(culprit.text->span), type_text(culprit.value)),
                            scope);
    return std::nullopt;
  }
  if (any_real) {
    ScalarType type = options_.real;
    if (a.value.is_typed_real()) type = a.value.expression->type.scalar;
    if (b.value.is_typed_real()) {
      const ScalarType other = b.value.expression->type.scalar;
      if (a.value.is_typed_real() && other != type) {
        report(scope,
               Complaint("E0401", sign_span,
                         fmt::format("`{}` of `{}` and `{}`", sign, element_text(type),
                                     element_text(other)),
                         "")
                   .note("types are never changed silently")
                   .help(fmt::format("write `{}({})`", ir::spelling(type), quote(b.text->span))));
        return std::nullopt;
      }
      type = other;
    }
    pair.a = as_expression(a.value, type);
    pair.b = as_expression(b.value, type);
    return pair;
  }
  pair.a = as_expression(a.value, ScalarType::i64);
  pair.b = as_expression(b.value, ScalarType::i64);
  pair.is_flexible = !any_integer;
  return pair;
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
      if (!wants_constant(scope)) return std::nullopt;
      return report_size_mistake(SizeMistake::not_multiple, e, scope);
    }
    const bool negative_power = op == BinaryOperator::power && a.is_number() && b.is_number() &&
                                b.integer.maximum < 0 && scope.mode != Scope::Mode::size;
    if (!negative_power) {
      SizeResult result = size_arithmetic(op, a.integer, b.integer, options_.batch.value_or(1));
      if (result.mistake == SizeMistake::none) return Value::of_integer(result.value);
      if (result.mistake == SizeMistake::not_multiple && !wants_constant(scope)) {
        return std::nullopt;
      }
      return report_size_mistake(result.mistake, e, scope);
    }
  }
  const bool any_rows = (a.kind == ValueKind::integer && a.integer.per_row != 0) ||
                        (b.kind == ValueKind::integer && b.integer.per_row != 0);
  if (any_rows) {
    if (!wants_constant(scope)) return std::nullopt;
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
