// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What names mean: indices, tensors, sizes, constants; and what is said where they mean nothing.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::BinaryOperator;
using ast::ExpressionKind;
using ir::ExprRef;

Value Elaborator::tensor_value(const std::string& tensor) const {
  const TensorFacts& facts = current_->tensors.find(tensor)->second;
  if (facts.whole == nullptr) {
    std::vector<ExprRef> indices;
    for (size_t d = 0; d < facts.shape.size(); ++d) {
      indices.push_back(ir::make_index(whole_index(d)));
    }
    facts.whole = ir::make_read(tensor, facts.type, std::move(indices));
  }
  return Value::of_element(facts.whole, facts.shape);
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
      if (scope.wants_constant()) {
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

}  // namespace fusegrad::frontend
