// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Statements that define tensors, whole or element by element, and new values of states.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ir::ExprRef;
using ir::Extent;
using ir::IndexRange;
using ir::ScalarType;

void Elaborator::run_bind(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty()) return;
  const ast::Identifier& first = statement.names[0];
  for (const ast::Identifier& name : statement.names) {
    if (is_assignment_to_state(statement, name, frame)) return;
  }
  StatementGuard guard(*this, frame.path + first.text, statement.span, &statement.value);
  Scope scope = frame_scope(frame, Scope::Mode::whole);
  scope.position = ir::make_index(position_index);

  std::vector<Value> values;
  const ast::Expression& e = statement.value;
  const bool is_layer_call = e.kind == ExpressionKind::call &&
                             definitions_.layer(e.name.text, frame.from_library) != nullptr;
  if (is_layer_call) {
    // Names get an error type below if the layer's outputs are in error.
    values = evaluate_call_outputs(e, scope);
    if (values.empty()) values.assign(statement.names.size(), error());
    if (values.size() != statement.names.size()) {
      report(&frame, Complaint("E0107", e.span,
                               fmt::format("`{}` gives {} tensor{}", e.name.text, values.size(),
                                           values.size() == 1 ? "" : "s"),
                               fmt::format("{} name{} on the left", statement.names.size(),
                                           statement.names.size() == 1 ? "" : "s")));
      values.assign(statement.names.size(), error());
    }
  } else {
    values.push_back(evaluate(e, scope));
    if (statement.names.size() > 1) {
      if (!values[0].is_error()) {
        report(&frame,
               Complaint("E0107", e.span, "only a layer gives several tensors", "this is one value")
                   .other(statement.left_span, fmt::format("{} names", statement.names.size())));
      }
      values.assign(statement.names.size(), error());
    }
  }
  for (size_t i = 0; i < values.size(); ++i) {
    NameMeaning meaning;
    if (values[i].is_constant()) {
      meaning.kind = NameMeaning::Kind::constant;
      meaning.constant = values[i];
    } else if (!values[i].is_error()) {
      meaning.kind = NameMeaning::Kind::tensor;
      ScalarType type = stored_type(values[i]);
      auto output = frame.outputs.find(statement.names[i].text);
      if (output != frame.outputs.end() && output->second.is_valid &&
          output->second.element == ast::ElementName::i32 && values[i].is_flexible) {
        type = ScalarType::i32;
      }
      check_element_count(values[i].shape, statement.left_span, &frame);
      meaning.tensor =
          materialise(values[i], type, frame.path + statement.names[i].text, statement.span);
    }
    bind_name(statement.names[i], std::move(meaning), frame);
  }
}

void Elaborator::run_define(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty()) return;
  const ast::Identifier& name = statement.names[0];
  if (is_assignment_to_state(statement, name, frame)) return;
  const ir::Shape* shape = nullptr;
  Span span;
  std::optional<ScalarType> type;
  auto output = frame.outputs.find(name.text);
  if (output != frame.outputs.end()) {
    if (!output->second.is_valid) {
      bind_name(name, NameMeaning{}, frame);
      return;
    }
    shape = &output->second.shape;
    span = output->second.span;
    switch (output->second.element) {
      case ast::ElementName::real:
        type = options_.real;
        break;
      case ast::ElementName::f32:
        type = ScalarType::f32;
        break;
      case ast::ElementName::f64:
        type = ScalarType::f64;
        break;
      case ast::ElementName::u8:
        type = ScalarType::u8;
        break;
      case ast::ElementName::integer:
      case ast::ElementName::i32:
        type = ScalarType::i32;
        break;
      case ast::ElementName::boolean:
        type = ScalarType::boolean;
        break;
      case ast::ElementName::any:
      case ast::ElementName::f16:
      case ast::ElementName::bf16:
        break;
    }
  }
  std::optional<std::string> tensor =
      define_elements(statement, frame.path + name.text, shape, span, type, frame);
  NameMeaning meaning;
  if (tensor) {
    meaning.kind = NameMeaning::Kind::tensor;
    meaning.tensor = *tensor;
  }
  bind_name(name, std::move(meaning), frame);
}

std::optional<std::vector<IndexRange>> Elaborator::left_indices(const ast::Statement& statement,
                                                                const ir::Shape* declared_shape,
                                                                Span declared_span, Scope& scope) {
  Frame& frame = *scope.frame;
  // How many dimensions the left side has, so that a declared shape can be dealt out.
  size_t rank = 0;
  for (const ast::Binder& binder : statement.indices) {
    if (!binder.is_ellipsis) {
      ++rank;
    } else if (frame.pack) {
      rank += frame.pack->size();
    } else {
      report(&frame, Complaint("E0108", binder.span, "`...` stands for no indices here", "")
                         .note("`...` needs a parameter of the layer that has `...` in its type"));
      return std::nullopt;
    }
  }
  const std::string name = quote(statement.names[0].span);
  if (declared_shape != nullptr && declared_shape->size() != rank) {
    report(&frame,
           Complaint("E0205", statement.left_span,
                     fmt::format("`{}` has rank {} but is defined with {} {}", name,
                                 declared_shape->size(), rank, rank == 1 ? "index" : "indices"),
                     fmt::format("{} {}", rank, rank == 1 ? "index" : "indices"))
               .other(declared_span, fmt::format("declared as {}", shape_text(*declared_shape))));
    return std::nullopt;
  }
  std::vector<IndexRange> left;
  bool ok = true;
  size_t dimension = 0;
  for (const ast::Binder& binder : statement.indices) {
    if (binder.is_ellipsis) {
      std::vector<std::string> pack;
      for (const Extent& extent : *frame.pack) {
        if (declared_shape != nullptr && !((*declared_shape)[dimension] == extent)) ok = false;
        const std::string base = pack.empty() ? "p" : fmt::format("p{}", pack.size() + 1);
        pack.push_back(add_index(base, 0, extent));
        left.push_back({pack.back(), 0, extent});
        ++dimension;
      }
      if (!ok) {
        report(&frame, Complaint("E0201", binder.span, "`...` does not fit the declared shape",
                                 fmt::format("`...` is {}", shape_text(*frame.pack)))
                           .other(declared_span,
                                  fmt::format("declared as {}", shape_text(*declared_shape))));
        return std::nullopt;
      }
      scope.pack = std::move(pack);
      continue;
    }
    if (const Scope::Index* earlier = scope.find_index(binder.name.text)) {
      report(&frame,
             Complaint("E0204", binder.name.span,
                       fmt::format("index `{}` appears twice on the left", binder.name.text),
                       "second use")
                 .other(earlier->span, "first use")
                 .note(fmt::format("a definition gives every element of `{}` exactly once", name))
                 .help("give the second one another name, and choose elements with `if`"));
      return std::nullopt;
    }
    std::optional<Extent> extent = left_extent(
        statement, binder, declared_shape != nullptr ? &(*declared_shape)[dimension] : nullptr,
        declared_span, scope);
    ++dimension;
    if (!extent) {
      ok = false;
      continue;
    }
    const std::string internal = add_index(binder.name.text, 0, *extent);
    scope.indices.push_back({binder.name.text, internal, binder.name.span});
    left.push_back({internal, 0, *extent});
  }
  if (!ok) return std::nullopt;
  return left;
}

std::optional<Extent> Elaborator::left_extent(const ast::Statement& statement,
                                              const ast::Binder& binder, const Extent* declared,
                                              Span declared_span, const Scope& scope) {
  const std::string& name = binder.name.text;
  const IndexUse declared_use = {declared != nullptr ? *declared : Extent{}, declared_span};
  if (!binder.range) {
    std::vector<IndexUse> uses;
    collect_uses(statement.value, name, scope, uses);
    return infer_extent(binder, uses, declared != nullptr ? &declared_use : nullptr,
                        statement.value, scope);
  }
  std::optional<IndexRange> range = explicit_range(*binder.range, scope);
  if (!range) return std::nullopt;
  if (range->begin != 0 || (!range->end.depends_on_rows() && range->end.maximum < 1)) {
    report(scope, Complaint("E0212", binder.range->span,
                            "the range of an index on the left is 0..N with N at least 1",
                            fmt::format("this is {}..{}", range->begin, size_text(range->end))));
    return std::nullopt;
  }
  if (declared != nullptr && !(*declared == range->end)) {
    report(scope, Complaint("E0201", binder.range->span,
                            fmt::format("index `{}` has two different sizes", name),
                            fmt::format("here `{}` has size {}", name, size_text(range->end)))
                      .other(declared_span,
                             fmt::format("here `{}` has size {}", name, size_text(*declared))));
    return std::nullopt;
  }
  return range->end;
}

std::optional<std::string> Elaborator::define_elements(
    const ast::Statement& statement, std::string_view tensor_name, const ir::Shape* declared_shape,
    Span declared_span, std::optional<ScalarType> declared_type, Frame& frame) {
  StatementGuard guard(*this, std::string(tensor_name), statement.span, &statement.value);
  Scope scope = frame_scope(frame, Scope::Mode::element);
  std::optional<std::vector<IndexRange>> left =
      left_indices(statement, declared_shape, declared_span, scope);
  if (!left) return std::nullopt;
  ir::TensorStatement made;
  made.indices = *left;
  std::vector<ExprRef> indices;
  for (const IndexRange& range : *left) indices.push_back(ir::make_index(range.name));
  check_element_count(made.shape(), statement.left_span, &frame);
  scope.position = row_major_position(indices, made.shape());

  Value value = evaluate(statement.value, scope);
  if (value.is_error()) return std::nullopt;
  made.type = declared_type.value_or(stored_type(value));
  if (value.is_boolean() == (made.type == ScalarType::boolean)) {
    made.value = as_expression(value, ir::value_type(made.type));
  }
  if (made.value == nullptr) {
    report(&frame, Complaint("E0401", statement.value.span,
                             fmt::format("the elements of `{}` are `{}`, but this is {}",
                                         quote(statement.names[0].span), element_text(made.type),
                                         type_text(value)),
                             fmt::format("this is {}", type_text(value)))
                       .other(declared_span, "declared here")
                       .note("types are never changed silently"));
    return std::nullopt;
  }
  if (made.type == ScalarType::u8) {
    std::optional<ir::Interval> bounds = value_interval(made.value, statement_->indices);
    if (!bounds || bounds->min < 0 || bounds->max > 255) {
      report(&frame, Complaint("E0207", statement.value.span, "this value may be outside 0..256",
                               "a `u8` cannot hold it")
                         .other(declared_span, "declared here"));
      return std::nullopt;
    }
  }
  // A reduction at the root needs no copy: its statement gets the name.
  if (!statement_->lifted.empty() && made.value->op == ir::Op::read && !made.value->has_else) {
    const LiftedReduction& lifted = statement_->lifted.back();
    ir::TensorStatement& last = current_->program.statements.back();
    bool is_root = made.value->name == lifted.tensor && last.name == lifted.tensor &&
                   last.type == made.type && lifted.indices.size() == left->size();
    for (size_t d = 0; is_root && d < left->size(); ++d) {
      is_root = lifted.indices[d] == (*left)[d].name && ir::is_index(made.value->operands[d]) &&
                made.value->operands[d]->name == (*left)[d].name;
    }
    if (is_root) {
      auto facts = current_->tensors.extract(lifted.tensor);
      facts.key() = unique_name(tensor_name);
      last.name = facts.key();
      current_->tensors.insert(std::move(facts));
      return last.name;
    }
  }
  made.name = tensor_name;
  made.origin = statement.span;
  return emit(std::move(made));
}

void Elaborator::run_update(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty()) return;
  const ast::Identifier& name = statement.names[0];
  auto found = frame.names.find(name.text);
  if (found == frame.names.end()) {
    report_unknown_name(name, name.span, frame_scope(frame, Scope::Mode::element));
    return;
  }
  NameMeaning& meaning = found->second;
  if (meaning.kind == NameMeaning::Kind::error) return;
  if (!meaning.is_state) {
    report(&frame,
           Complaint("E0602", statement.operator_span,
                     fmt::format("`{}` is not a state", name.text), "only states change with `<-`")
               .other(meaning.span, "defined here")
               .note("parameters are changed by the optimizer, everything else is defined "
                     "once with `=`"));
    return;
  }
  auto [earlier, is_first] = frame.updated.emplace(name.text, statement.left_span);
  if (!is_first) {
    report(&frame,
           Complaint("E0601", statement.left_span,
                     fmt::format("`{}` is updated twice in one step", name.text), "second update")
               .other(earlier->second, "first update")
               .note("a state name always means its value at the start of the step"));
    return;
  }
  meaning.is_read = true;
  is_training_asked_ = true;
  if (!options_.training) return;  // states rest during evaluation

  const std::string target = meaning.tensor;
  const TensorFacts facts = main_.tensors.find(target)->second;
  std::optional<std::string> tensor;
  if (statement.has_brackets) {
    tensor =
        define_elements(statement, target + "'", &facts.shape, facts.declared, facts.type, frame);
  } else {
    StatementGuard guard(*this, target + "'", statement.span, &statement.value);
    Scope scope = frame_scope(frame, Scope::Mode::whole);
    scope.position = ir::make_index(position_index);
    Value value = evaluate(statement.value, scope);
    if (value.is_error()) return;
    if (!(value.shape == facts.shape)) {
      report(
          &frame,
          Complaint("E0301", statement.operator_span,
                    fmt::format("the shapes of `{}` and its new value differ", name.text),
                    fmt::format("{} against {}", shape_text(facts.shape), shape_text(value.shape)))
              .note("there is no implicit broadcasting"));
      return;
    }
    const bool fits = value.is_boolean() == (facts.type == ScalarType::boolean) &&
                      as_expression(value, ir::value_type(facts.type)) != nullptr;
    if (!fits) {
      report(&frame, Complaint("E0401", statement.value.span,
                               fmt::format("the elements of `{}` are `{}`, but this is {}",
                                           name.text, element_text(facts.type), type_text(value)),
                               fmt::format("this is {}", type_text(value))));
      return;
    }
    tensor = materialise(value, facts.type, target + "'", statement.span);
  }
  if (tensor) main_.program.updates.push_back({target, *tensor});
}

}  // namespace fusegrad::frontend
