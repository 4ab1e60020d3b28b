// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Running the statements of layers and models; those that are done when compiling.
#include <fmt/format.h>

#include <limits>
#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ast::StatementKind;
using ir::Extent;

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

}  // namespace fusegrad::frontend
