// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What all parts of elaboration share: messages with the calls that led there, limits, and names.
#include <fmt/format.h>

#include <utility>

#include "frontend/elaborator.h"

namespace fusegrad::frontend {

using ir::ScalarType;

Elaborator::Elaborator(const Definitions& definitions, const SourceManager& sources,
                       Reporter& reporter, StableNames& stable_names, Options options)
    : definitions_(definitions),
      sources_(sources),
      reporter_(reporter),
      stable_names_(stable_names),
      options_(options) {
  for (ProgramBuilder* builder : {&main_, &initial_}) {
    builder->program.batch = options_.batch.value_or(1);
    builder->program.real = options_.real;
  }
  initial_.program.name = "init";
}

Elaborator::StatementGuard::StatementGuard(Elaborator& elaborator, std::string name, Span origin,
                                           const ast::Expression* root)
    : elaborator_(elaborator), outer_(elaborator.statement_) {
  context_.name = std::move(name);
  context_.origin = origin;
  context_.root = root;
  context_.random_key =
      fmt::format("{}/{}", context_.name, ++elaborator.statement_turns_[context_.name]);
  context_.ranges.add_rows(elaborator.options_.batch.value_or(1));
  Elaborator* owner = &elaborator;
  // What a read can give: the promised range of an input, the positions of an argmax, 0 ... 255.
  context_.ranges.other = [owner](const ir::Expr& node) -> std::optional<ir::Interval> {
    if (node.op != ir::Op::read) return std::nullopt;
    auto found = owner->current_->tensors.find(node.name);
    if (found == owner->current_->tensors.end()) return std::nullopt;
    const TensorFacts& facts = found->second;
    if (facts.range) return ir::Interval{facts.range->begin, facts.range->end - 1};
    if (facts.type == ScalarType::u8) return ir::Interval{0, 255};
    return std::nullopt;
  };
  elaborator.statement_ = &context_;
}

const Scope::Index* Scope::find_index(std::string_view name) const {
  for (const Index& index : indices) {
    if (index.name == name) return &index;
  }
  return nullptr;
}

Scope Scope::for_arguments() const {
  Scope scope = *this;
  if (mode == Mode::size) scope.mode = Mode::constant;
  return scope;
}

Scope Scope::with_mode(Mode wanted) const {
  Scope scope = *this;
  scope.mode = wanted;
  if (wanted != Mode::element) {
    scope.indices.clear();
    scope.pack.reset();
    // The element of a whole tensor is known when the tensor gets its statement.
    if (scope.position != nullptr) scope.position = ir::make_index(position_index);
  }
  return scope;
}

void Elaborator::report(const Frame* frame, Complaint complaint) {
  ++report_count_;
  // A place in the model's own text needs no way to it; a place in a layer does. Three steps say
  // enough.
  int steps = 0;
  for (const Frame* at = frame; at != nullptr && at->call.valid() && steps < 3;
       at = at->caller, ++steps) {
    complaint.other(at->call, "in this call");
  }
  const bool is_moved = complaint.blame_caller(definitions_.library_file());
  if (is_moved && complaint.diagnostic().code == "E0401" && !integer_argument_.empty()) {
    complaint.help(fmt::format("write `real({})`; the conversion costs no extra pass over memory",
                               integer_argument_));
  }
  reporter_.add(complaint);
}

void Elaborator::report(const Scope& scope, Complaint complaint) {
  // An argument that does not fit a function is usually wrong at several places of its body.
  if (!scope.calls.empty() && reports_at_call_ && report_count_ > *reports_at_call_) return;
  for (size_t i = scope.calls.size(); i > 0 && scope.calls.size() - i < 3; --i) {
    complaint.other(scope.calls[i - 1], "in this call");
  }
  report(scope.frame != nullptr ? scope.frame : scope.site, std::move(complaint));
}

std::string Elaborator::quote(Span span) const {
  std::string text;
  for (char c : sources_.text(span)) {
    const bool is_blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!is_blank) {
      text += c;
    } else if (!text.empty() && text.back() != ' ') {
      text += ' ';
    }
  }
  constexpr size_t longest = 60;
  if (text.size() > longest) text = text.substr(0, longest - 3) + "...";
  return text;
}

std::string_view Elaborator::element_text(ScalarType type) const {
  return type == options_.real ? "real" : ir::spelling(type);
}

std::string Elaborator::tensor_text(const TensorFacts& facts) const {
  std::string text(element_text(facts.type));
  text += '[';
  for (size_t d = 0; d < facts.shape.size(); ++d) {
    if (d != 0) text += ", ";
    text += size_text(facts.shape[d]);
  }
  return text + ']';
}

std::string Elaborator::type_text(const Value& value) const {
  switch (value.kind) {
    case ValueKind::error:
      return "an error";
    case ValueKind::boolean:
      return "`bool`";
    case ValueKind::integer:
      return "an integer";
    case ValueKind::real:
      return "a real number";
    case ValueKind::element:
      break;
  }
  const ir::Expr& e = *value.expression;
  if (e.op == ir::Op::read) {
    auto found = current_->tensors.find(e.name);
    if (found != current_->tensors.end()) {
      return fmt::format("`{}`", element_text(found->second.type));
    }
  }
  if (e.type.scalar == ScalarType::i64) return "an integer";
  return fmt::format("`{}`", element_text(e.type.scalar));
}

std::string Elaborator::tensor_text(const Value& value) const {
  if (std::optional<std::string> name = named_tensor(value)) {
    return tensor_text(current_->tensors.find(*name)->second);
  }
  TensorFacts facts;
  facts.shape = value.shape;
  facts.type = stored_type(value);
  return tensor_text(facts);
}

bool Elaborator::charge(const Frame* frame, Span span) {
  if (gave_up_) return false;
  if (++work_ > max_elaboration_work ||
      current_->program.statements.size() > max_tensor_statements) {
    gave_up_ = true;
    report(frame, Complaint("E0903", span, "the model is too large",
                            "gave up here, after a very large number of statements")
                      .note("layers, functions and `repeat` are unrolled"));
  }
  if (reporter_.is_full()) gave_up_ = true;
  return !gave_up_;
}

std::vector<std::string> Elaborator::visible_names(const Scope& scope) const {
  std::vector<std::string> names;
  for (const Scope::Index& index : scope.indices) {
    if (!index.name.empty()) names.push_back(index.name);
  }
  for (const auto& [name, value] : scope.locals) names.push_back(name);
  if (scope.frame != nullptr) {
    for (const auto& [name, meaning] : scope.frame->names) names.push_back(name);
  }
  auto add_constants = [&](const FileDefinitions& file) {
    for (const auto& [name, constant] : file.constants) {
      if (!constant->name.is_dimension()) names.push_back(name);
    }
  };
  if (!scope.from_library) add_constants(definitions_.model());
  add_constants(definitions_.library());
  return names;
}

std::string Elaborator::position_text(Span span) const {
  const LineColumn at = sources_.position(span.file, span.begin);
  return fmt::format("{}:{}", sources_.name(span.file), at.line);
}

}  // namespace fusegrad::frontend
