// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The statements of layers and models.
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

// ---------------------------------------------------------------- running

void Elaborator::run(std::span<const ast::Statement> statements, Frame& frame) {
  for (const ast::Statement& statement : statements) {
    if (!charge(&frame, statement.span)) return;
    run(statement, frame);
  }
}

void Elaborator::run(const ast::Statement& statement, Frame& frame) {
  switch (statement.kind) {
    case StatementKind::constant:
      return run_constant(statement, frame);
    case StatementKind::parameter:
    case StatementKind::state:
      return run_parameter(statement, frame);
    case StatementKind::require:
      return run_require(statement, frame);
    case StatementKind::when:
      return run_when(statement, frame);
    case StatementKind::repeat:
      return run_repeat(statement, frame);
    case StatementKind::bind:
      return run_bind(statement, frame);
    case StatementKind::define:
      return run_define(statement, frame);
    case StatementKind::update:
      return run_update(statement, frame);
    case StatementKind::input:
    case StatementKind::output:
    case StatementKind::loss:
    case StatementKind::metric:
      return run_of_model(statement, frame);
  }
}

void Elaborator::run_of_model(const ast::Statement& statement, Frame& frame) {
  // In a layer the parser has reported them; a name that was to be defined is known from here on.
  if (frame.call.valid()) {
    if (statement.kind == StatementKind::input && !statement.names.empty()) {
      frame.names[statement.names[0].text] = {};
    }
    return;
  }
  if (statement.kind == StatementKind::input) run_input(statement, frame);
  if (statement.kind == StatementKind::output) run_output(statement, frame);
  if (statement.kind == StatementKind::loss) run_loss(statement, frame);
  if (statement.kind == StatementKind::metric) run_metric(statement, frame);
}

Scope Elaborator::frame_scope(Frame& frame, Scope::Mode mode) const {
  Scope scope;
  scope.mode = mode;
  scope.frame = &frame;
  scope.from_library = frame.from_library;
  return scope;
}

void Elaborator::bind_name(const ast::Identifier& name, NameMeaning meaning, Frame& frame) {
  if (name.text.empty()) return;
  meaning.span = name.span;
  auto found = frame.names.find(name.text);
  if (found != frame.names.end()) {
    const NameMeaning& hidden = found->second;
    const bool says_something = !hidden.is_read && meaning.kind != NameMeaning::Kind::error &&
                                hidden.kind == NameMeaning::Kind::tensor && !frame.from_library &&
                                !(hidden.span == name.span);
    if (says_something) {
      report(&frame, Complaint("W0111", hidden.span, fmt::format("`{}` is never used", name.text),
                               "this value is lost")
                         .other(name.span, "the name gets another meaning here"));
    }
  }
  frame.names[name.text] = std::move(meaning);
}

bool Elaborator::is_assignment_to_state(const ast::Statement& statement,
                                        const ast::Identifier& name, Frame& frame) {
  auto found = frame.names.find(name.text);
  if (found == frame.names.end() || !found->second.is_state) return false;
  std::string left = quote(statement.left_span);
  report(&frame, Complaint("E0004", statement.operator_span, "state is changed with `<-`, not `=`",
                           "this would define a new tensor and leave the state as it was")
                     .other(found->second.span, "state declared here")
                     .help(fmt::format("write `{} <- {}`", left, quote(statement.value.span))));
  return true;
}

std::string Elaborator::stable_name(Frame& frame, const void* place, Span span,
                                    std::string_view base) {
  const int turn = ++frame.turns[place];
  const std::string key =
      fmt::format("{}|{}|{}|{}|{}", frame.path, span.file, span.begin, turn, base);
  auto known = stable_names_.by_key.find(key);
  if (known != stable_names_.by_key.end()) return known->second;
  std::string name(base);
  int& number = stable_names_.next_number.try_emplace(name, 1).first->second;
  while (stable_names_.taken.contains(name)) name = fmt::format("{}_{}", base, ++number);
  stable_names_.taken.insert(name);
  stable_names_.by_key.emplace(key, name);
  return name;
}

// ---------------------------------------------------------------- compile-time statements

void Elaborator::run_constant(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty()) return;
  const ast::Identifier& name = statement.names[0];
  if (name.is_dimension()) {
    const Scope scope = frame_scope(frame, Scope::Mode::size);
    std::optional<Extent> size =
        evaluate_size(statement.value, scope, std::numeric_limits<int64_t>::min());
    frame.sizes[name.text] = size ? Value::of_integer(*size) : error();
    return;
  }
  if (is_assignment_to_state(statement, name, frame)) return;
  NameMeaning meaning;
  meaning.constant = evaluate(statement.value, frame_scope(frame, Scope::Mode::constant));
  meaning.kind =
      meaning.constant.is_error() ? NameMeaning::Kind::error : NameMeaning::Kind::constant;
  bind_name(name, std::move(meaning), frame);
}

void Elaborator::run_require(const ast::Statement& statement, Frame& frame) {
  const ast::Expression& condition = statement.value;
  Value value = evaluate(condition, frame_scope(frame, Scope::Mode::constant));
  if (value.is_error()) return;
  if (value.kind != ValueKind::boolean) {
    report(&frame, Complaint("E0402", condition.span, "`require` needs a condition",
                             fmt::format("this is {}", type_text(value))));
    return;
  }
  if (value.boolean) return;

  // Say what the left side of the failed comparison is.
  std::string found = "this does not hold";
  if (condition.kind == ExpressionKind::binary) {
    const ast::Expression& left = condition.operands[0];
    Value number = left.kind == ExpressionKind::binary || left.kind == ExpressionKind::name ||
                           left.kind == ExpressionKind::dimension
                       ? evaluate(left, frame_scope(frame, Scope::Mode::constant))
                       : error();
    if (number.kind == ValueKind::integer) {
      found = fmt::format("{} is {}", quote(left.span), size_text(number.integer));
    } else if (number.kind == ValueKind::real) {
      found = fmt::format("{} is {}", quote(left.span), number.real);
    }
  }
  std::string message = fmt::format("`{}` does not hold", quote(condition.span));
  if (statement.message && !statement.message->text.empty()) message = statement.message->text;
  if (frame.caller != nullptr) {
    report(frame.caller,
           Complaint("E0303", frame.call, message, found)
               .other(statement.span, "required here")
               .note(fmt::format("required by `{}` ({}): `require {}`", frame.what,
                                 position_text(statement.span), quote(condition.span))));
  } else {
    report(&frame, Complaint("E0303", condition.span, message, found));
  }
}

void Elaborator::run_when(const ast::Statement& statement, Frame& frame) {
  Value value = evaluate(statement.value, frame_scope(frame, Scope::Mode::constant));
  if (value.is_error()) {
    // Neither block runs; what they would have defined must not be called unknown.
    for (const auto* block : {&statement.body, &statement.otherwise}) {
      for (const ast::Statement& inner : *block) {
        for (const ast::Identifier& name : inner.names) {
          if (!name.is_dimension()) bind_name(name, NameMeaning{}, frame);
        }
      }
    }
    return;
  }
  if (value.kind != ValueKind::boolean) {
    report(&frame, Complaint("E0402", statement.value.span, "`when` needs a condition",
                             fmt::format("this is {}", type_text(value))));
    return;
  }
  run(value.boolean ? statement.body : statement.otherwise, frame);
}

void Elaborator::run_repeat(const ast::Statement& statement, Frame& frame) {
  std::optional<Extent> count =
      evaluate_size(statement.value, frame_scope(frame, Scope::Mode::size), 0);
  if (!count) return;
  if (count->depends_on_rows()) {
    report(&frame, Complaint("E0210", statement.value.span, "`repeat` needs a number",
                             fmt::format("this is {}", size_text(*count)))
                       .note("the number of rows of a batch is known at run time only"));
    return;
  }
  for (int64_t turn = 0; turn < count->maximum; ++turn) {
    if (!charge(&frame, statement.span)) return;
    run(statement.body, frame);
  }
}

// ---------------------------------------------------------------- definitions

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

// ---------------------------------------------------------------- statements of models

void Elaborator::run_output(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty() || statement.names[0].text.empty()) return;
  const ast::Identifier& name = statement.names[0];
  auto found = frame.names.find(name.text);
  if (found == frame.names.end()) {
    report_unknown_name(name, name.span, frame_scope(frame, Scope::Mode::whole));
    return;
  }
  found->second.is_read = true;
  if (found->second.kind == NameMeaning::Kind::error) return;
  if (found->second.kind == NameMeaning::Kind::constant) {
    report(&frame,
           Complaint("E0108", name.span, fmt::format("`{}` is known at compile time", name.text),
                     "an output is a tensor"));
    return;
  }
  auto [earlier, is_first] = output_spans_.emplace(name.text, name.span);
  if (!is_first) {
    report(&frame, Complaint("E0106", name.span,
                             fmt::format("`{}` is an output already", name.text), "named again")
                       .other(earlier->second, "first named here"));
    return;
  }
  // The loss and the metrics are all that training reports.
  if (options_.training) return;
  main_.program.results.push_back({ir::TensorResultKind::output, name.text, found->second.tensor});
}

std::optional<std::string> Elaborator::scalar_result(const ast::Statement& statement,
                                                     std::string_view what, std::string_view name,
                                                     Frame& frame) {
  StatementGuard guard(*this, std::string(name), statement.span, &statement.value);
  Scope scope = frame_scope(frame, Scope::Mode::whole);
  scope.position = ir::make_index(position_index);
  Operand value = {&statement.value, evaluate(statement.value, scope)};
  if (value.value.is_error()) return std::nullopt;
  if (!value.value.shape.empty()) {
    report(&frame,
           Complaint("E0501", statement.value.span, fmt::format("{} must be a single number", what),
                     fmt::format("this is `{}`", tensor_text(value.value)))
               .help(fmt::format(
                   "write `{} mean({})`",
                   quote({statement.span.file, statement.span.begin, statement.operator_span.end}),
                   quote(statement.value.span))));
    return std::nullopt;
  }
  ExprRef real = real_operand(value, what, scope);
  if (real == nullptr) return std::nullopt;
  return materialise(Value::of_element(real), real->type.scalar, name, statement.span);
}

void Elaborator::run_loss(const ast::Statement& statement, Frame& frame) {
  if (loss_span_.valid()) {
    report(&frame, Complaint("E0505", statement.span, "a model has one loss", "second loss")
                       .other(loss_span_, "first loss")
                       .help("add them: `loss = a + b`"));
    return;
  }
  loss_span_ = statement.span;
  std::optional<std::string> tensor = scalar_result(statement, "the loss", "loss", frame);
  if (!tensor) return;
  main_.program.results.push_back({ir::TensorResultKind::loss, "loss", *tensor});
}

void Elaborator::run_metric(const ast::Statement& statement, Frame& frame) {
  if (statement.names.empty() || statement.names[0].text.empty()) return;
  const ast::Identifier& name = statement.names[0];
  auto [earlier, is_first] = metric_spans_.emplace(name.text, name.span);
  if (!is_first) {
    report(&frame,
           Complaint("E0106", name.span, fmt::format("the metric `{}` is defined twice", name.text),
                     "defined again")
               .other(earlier->second, "first defined here"));
    return;
  }
  std::optional<std::string> tensor = scalar_result(statement, "a metric", name.text, frame);
  if (!tensor) return;
  main_.program.results.push_back({ir::TensorResultKind::metric, name.text, *tensor});
}

void Elaborator::elaborate_model(const ast::Model& model) {
  Frame frame;
  frame.what = model.name.text;
  frame.from_library = definitions_.is_library(model.span);
  run(model.body, frame);
  if (!loss_span_.valid() && !gave_up_) {
    report(&frame, Complaint("E0505", model.name.span,
                             fmt::format("the model `{}` has no loss", model.name.text),
                             "nothing to minimise")
                       .help("write `loss = mean(...)`"));
  }
}

ir::TensorProgram Elaborator::take_initial_program() { return std::move(initial_.program); }

}  // namespace fusegrad::frontend
