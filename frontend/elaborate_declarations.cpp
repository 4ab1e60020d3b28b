// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Declarations: types and sizes, parameters and states with their initial values, inputs.
#include <fmt/format.h>

#include <limits>
#include <utility>

#include "frontend/elaborator.h"
#include "ir/support/check.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ast::StatementKind;
using ir::ExprRef;
using ir::Extent;
using ir::IndexRange;
using ir::ScalarType;

// ---------------------------------------------------------------- types and sizes

std::optional<Extent> Elaborator::evaluate_size(const ast::Expression& e, const Scope& scope,
                                                int64_t least) {
  Value value = evaluate(e, scope);
  if (value.is_error()) return std::nullopt;
  if (value.kind != ValueKind::integer) {
    report(scope, Complaint("E0208", e.span, "a size must be an integer",
                            fmt::format("this is {}", type_text(value))));
    return std::nullopt;
  }
  const bool is_too_small = value.integer.per_row != 0 ? value.integer.per_row < 0 && least > -1
                                                       : value.integer.maximum < least;
  if (is_too_small) {
    report(
        scope,
        Complaint("E0304", e.span, least > 0 ? "a dimension is not positive" : "a size is negative",
                  quote(e.span) == size_text(value.integer)
                      ? std::string()
                      : fmt::format("`{}` is {}", quote(e.span), size_text(value.integer))));
    return std::nullopt;
  }
  return value.integer;
}

std::optional<ScalarType> Elaborator::resolve_element(const ast::Type& type, const Frame& frame) {
  switch (type.element) {
    case ast::ElementName::real:
      return options_.real;
    case ast::ElementName::f32:
      return ScalarType::f32;
    case ast::ElementName::f64:
      return ScalarType::f64;
    case ast::ElementName::u8:
      return ScalarType::u8;
    case ast::ElementName::i32:
      return ScalarType::i32;
    case ast::ElementName::boolean:
      return ScalarType::boolean;
    case ast::ElementName::f16:
    case ast::ElementName::bf16:
      report(&frame,
             Complaint("E0902", type.element_span,
                       fmt::format("`{}` is not supported yet", ast::spelling(type.element)), ""));
      return std::nullopt;
    case ast::ElementName::integer:
    case ast::ElementName::any:
      report(&frame, Complaint("E0108", type.element_span,
                               fmt::format("`{}` is not one type", ast::spelling(type.element)),
                               "what is stored has exactly one")
                         .note("`int` is `u8` or `i32`, `any` is any type: for parameters of "
                               "layers only"));
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ir::Shape> Elaborator::resolve_shape(const ast::Type& type, Frame& frame) {
  ir::Shape shape;
  bool ok = true;
  const Scope scope = frame_scope(frame, Scope::Mode::size);
  for (const ast::Expression& size : type.sizes) {
    if (size.kind == ExpressionKind::ellipsis) {
      if (frame.pack) {
        shape.insert(shape.end(), frame.pack->begin(), frame.pack->end());
        continue;
      }
      report(&frame, Complaint("E0108", size.span, "`...` stands for no sizes here", "")
                         .note("`...` needs a parameter of the layer that has `...` in its type"));
      ok = false;
      continue;
    }
    std::optional<Extent> extent = evaluate_size(size, scope, 1);
    ok = ok && extent;
    if (extent) shape.push_back(*extent);
  }
  if (!ok) return std::nullopt;
  check_element_count(shape, type.span, &frame);
  return shape;
}

std::optional<Elaborator::ResolvedType> Elaborator::resolve_type(const ast::Type& type,
                                                                 Frame& frame) {
  std::optional<ScalarType> element = resolve_element(type, frame);
  std::optional<ir::Shape> shape = resolve_shape(type, frame);
  if (!element || !shape) return std::nullopt;
  return ResolvedType{*element, std::move(*shape)};
}

// ---------------------------------------------------------------- parameters and states

void Elaborator::run_parameter(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty() || !statement.type) return;
  const ast::Identifier& name = statement.names[0];
  const bool is_state = statement.kind == StatementKind::state;
  // A type that could not be read was reported by the parser; the name is known all the same.
  std::optional<ResolvedType> type;
  if (statement.type->span.valid()) type = resolve_type(*statement.type, frame);
  if (type) {
    for (const Extent& extent : type->shape) {
      if (!extent.depends_on_rows()) continue;
      report(&frame, Complaint("E0210", statement.type->span,
                               fmt::format("the size of a {} cannot depend on the batch",
                                           is_state ? "state" : "parameter"),
                               fmt::format("this is {}", shape_text(type->shape)))
                         .note("it must be the same for every batch"));
      type.reset();
      break;
    }
  }
  if (type && !is_state && !ir::is_real(type->type)) {
    report(&frame, Complaint("E0401", statement.type->element_span, "parameters are real numbers",
                             fmt::format("this is `{}`", ir::spelling(type->type)))
                       .help("write `real[...]`"));
    type.reset();
  }
  if (!type) {
    bind_name(name, NameMeaning{}, frame);
    return;
  }
  ir::TensorDeclaration declaration;
  declaration.kind = is_state ? ir::TensorKind::state : ir::TensorKind::parameter;
  declaration.name = stable_name(frame, &statement, statement.span, frame.path + name.text);
  declaration.type = type->type;
  declaration.shape = type->shape;
  for (const ast::Identifier& tag : statement.tags) declaration.tags.push_back(tag.text);
  declaration.origin = statement.span;

  TensorFacts facts;
  facts.shape = type->shape;
  facts.type = type->type;
  facts.declared = statement.type->span;

  NameMeaning meaning;
  meaning.kind = NameMeaning::Kind::tensor;
  meaning.tensor = declaration.name;
  meaning.is_state = is_state;

  if (options_.training) {
    initialise(statement, declaration.name, facts, frame);
    initial_.program.declarations.push_back(declaration);
  }
  Frame* outermost = &frame;
  while (outermost->caller != nullptr && outermost->caller->caller != nullptr) {
    outermost = outermost->caller;
  }
  parameters_.push_back({declaration.name, statement.span,
                         frame.caller != nullptr ? outermost->call : statement.span});
  main_.tensors.emplace(declaration.name, std::move(facts));
  main_.program.declarations.push_back(std::move(declaration));
  bind_name(name, std::move(meaning), frame);
}

void Elaborator::initialise(const ast::Statement& statement, const std::string& tensor,
                            const TensorFacts& facts, Frame& frame) {
  const ast::Expression* text = &statement.value;
  Frame* owner = &frame;
  auto override = frame.initialisers.find(statement.names[0].text);
  if (override != frame.initialisers.end()) {
    override->second.is_used = true;
    text = &override->second.initialiser->value;
    owner = override->second.frame;
  }
  ProgramBuilder* before = current_;
  current_ = &initial_;
  {
    StatementGuard guard(*this, tensor, statement.span, text);
    // The initial value is a rule for one element: it names constants and sizes, but no tensors.
    Frame values;
    values.caller = owner->caller;
    values.call = owner->call;
    values.what = owner->what;
    values.from_library = owner->from_library;
    values.sizes = owner->sizes;
    for (const auto& [name, meaning] : owner->names) {
      if (meaning.kind != NameMeaning::Kind::tensor) values.names.emplace(name, meaning);
    }
    Scope scope = frame_scope(values, Scope::Mode::element);
    ir::TensorStatement initial;
    std::vector<ExprRef> indices;
    for (size_t d = 0; d < facts.shape.size(); ++d) {
      initial.indices.push_back({whole_index(d), 0, facts.shape[d]});
      indices.push_back(ir::make_index(whole_index(d)));
    }
    scope.position = row_major_position(indices, facts.shape);
    Value value = evaluate(*text, scope);
    if (!value.is_error()) {
      const ScalarType wanted = ir::value_type(facts.type);
      const bool is_boolean = facts.type == ScalarType::boolean;
      if (value.is_boolean() == is_boolean) initial.value = as_expression(value, wanted);
      if (initial.value == nullptr) {
        report(owner, Complaint("E0401", text->span, "this initial value does not fit",
                                fmt::format("this is {}", type_text(value)))
                          .other(statement.type->span,
                                 fmt::format("elements are `{}`", element_text(facts.type))));
      } else if (mentions_rows(initial.value)) {
        report(owner,
               Complaint("E0210", text->span, "an initial value cannot depend on the batch", ""));
      } else {
        initial.name = tensor + "'";
        initial.type = facts.type;
        initial.origin = statement.span;
        const std::string made = emit(std::move(initial));
        initial_.program.updates.push_back({tensor, made});
      }
    }
  }
  current_ = before;
}

// ---------------------------------------------------------------- inputs

void Elaborator::run_input(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty() || !statement.type) return;
  const ast::Identifier& name = statement.names[0];
  // A type that could not be read was reported by the parser; the name is known all the same.
  std::optional<ResolvedType> type;
  if (statement.type->span.valid()) type = resolve_type(*statement.type, frame);
  if (type) {
    const Extent rows = Extent::of_rows(options_.batch.value_or(1));
    bool ok = !type->shape.empty() && type->shape[0] == rows;
    for (size_t d = 1; d < type->shape.size(); ++d) {
      ok = ok && !type->shape[d].depends_on_rows();
    }
    if (!ok) {
      report(&frame, Complaint("E0210", statement.type->span,
                               "the first size of an input is `B`, and only the first",
                               fmt::format("this is {}", shape_text(type->shape)))
                         .note("a batch holds one sample a row"));
      type.reset();
    }
  }
  ModelInput input;
  if (type && statement.range) {
    if (!ir::is_integer(type->type)) {
      report(&frame, Complaint("E0401", statement.range->span, "only integers have a range",
                               fmt::format("`{}` is `{}`", name.text, element_text(type->type))));
    } else {
      const Scope sizes = frame_scope(frame, Scope::Mode::size);
      std::optional<IndexRange> range = explicit_range(*statement.range, sizes);
      if (range && (range->end.depends_on_rows() || range->begin >= range->end.maximum)) {
        report(&frame,
               Complaint("E0212", statement.range->span,
                         "the range of an input holds at least one number",
                         fmt::format("this is {}..{}", range->begin, size_text(range->end))));
        range.reset();
      }
      const bool is_bytes = type->type == ScalarType::u8;
      const int64_t least = is_bytes ? 0 : std::numeric_limits<int32_t>::min();
      const int64_t most = is_bytes ? 256 : int64_t{std::numeric_limits<int32_t>::max()} + 1;
      if (range && (range->begin < least || range->end.maximum > most)) {
        report(&frame,
               Complaint("E0212", statement.range->span,
                         fmt::format("a `{}` holds {}..{}", ir::spelling(type->type), least, most),
                         "this range is larger"));
        range.reset();
      }
      if (!range) type.reset();
      if (range) input.range = ir::IntegerRange{range->begin, range->end.maximum};
      input.range_span = statement.range->span;
    }
  }
  for (const ModelInput& earlier : inputs_) {
    if (earlier.name != name.text) continue;
    report(&frame,
           Complaint("E0106", name.span, fmt::format("the input `{}` is declared twice", name.text),
                     "declared again")
               .other(earlier.name_span, "first declared here"));
    return;
  }
  if (!type) {
    bind_name(name, NameMeaning{}, frame);
    return;
  }
  ir::TensorDeclaration declaration;
  declaration.kind = ir::TensorKind::input;
  declaration.name = stable_name(frame, &statement, statement.span, name.text);
  declaration.type = type->type;
  declaration.shape = type->shape;
  declaration.range = input.range;
  declaration.origin = statement.span;

  TensorFacts facts;
  facts.shape = type->shape;
  facts.type = type->type;
  facts.range = input.range;
  facts.declared = statement.type->span;
  facts.is_input = true;

  NameMeaning meaning;
  meaning.kind = NameMeaning::Kind::tensor;
  meaning.tensor = declaration.name;

  input.name = declaration.name;
  input.type = type->type;
  input.shape = type->shape;
  input.name_span = name.span;
  input.type_span = statement.type->span;
  inputs_.push_back(std::move(input));
  main_.tensors.emplace(declaration.name, std::move(facts));
  main_.program.declarations.push_back(std::move(declaration));
  bind_name(name, std::move(meaning), frame);
}

}  // namespace fusegrad::frontend
