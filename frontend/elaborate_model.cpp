// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Statements that only models have: inputs, outputs, the loss, metrics.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ast::StatementKind;
using ir::ExprRef;

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

void Elaborator::add_result(ir::TensorResult result) {
  // The loss and the metrics are all that training reports.
  const bool is_reported = !options_.training || result.kind != ir::TensorResultKind::output;
  if (is_reported) main_.program.results.push_back(result);
  evaluation_results_.push_back(std::move(result));
}

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
  add_result({ir::TensorResultKind::output, name.text, found->second.tensor});
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
  add_result({ir::TensorResultKind::loss, "loss", *tensor});
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
  add_result({ir::TensorResultKind::metric, name.text, *tensor});
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

std::optional<ir::TensorProgram> Elaborator::same_in_evaluation() const {
  if (is_training_asked_ || gave_up_) return std::nullopt;
  ir::TensorProgram program = main_.program;
  program.name = "eval";
  program.results = evaluation_results_;
  return program;
}

ir::TensorProgram Elaborator::take_initial_program() { return std::move(initial_.program); }

}  // namespace fusegrad::frontend
