// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads of tensors, and the proof that they stay inside.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "frontend/elaborator.h"
#include "ir/range_analysis.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ir::ExprRef;
using ir::Extent;
using ir::IndexRange;
using ir::Op;
using ir::ScalarType;

namespace {

bool reads_data(const ExprRef& e) {
  bool found = false;
  ir::walk(e, [&](const ir::Expr& node) { found = found || node.op == Op::read; });
  return found;
}

}  // namespace

// ---------------------------------------------------------------- reads

Value Elaborator::read_base(const ast::Expression& base, const Scope& scope) {
  if (base.kind == ExpressionKind::invalid) return error();
  if (base.kind == ExpressionKind::name) {
    const std::string& name = base.name.text;
    if (scope.frame != nullptr && !scope.locals.contains(name)) {
      auto found = scope.frame->names.find(name);
      if (found != scope.frame->names.end()) {
        found->second.is_read = true;
        if (found->second.kind == NameMeaning::Kind::error) return error();
        if (found->second.kind == NameMeaning::Kind::tensor) {
          return tensor_value(found->second.tensor);
        }
        report(scope,
               Complaint("E0108", base.span, fmt::format("`{}` is a number, not a tensor", name),
                         "only tensors are indexed")
                   .other(found->second.span, "defined here"));
        return error();
      }
    }
    if (scope.find_index(name) != nullptr || scope.locals.contains(name)) {
      report(scope,
             Complaint("E0108", base.span, fmt::format("`{}` is a number, not a tensor", name),
                       "only tensors are indexed"));
      return error();
    }
    return report_unknown_name(base.name, base.span, scope);
  }
  auto known = statement_->whole_values.find(&base);
  if (known != statement_->whole_values.end()) return known->second;
  Value value = evaluate(base, scope.with_mode(Scope::Mode::whole));
  if (!value.is_error() && value.kind != ValueKind::element) {
    report(scope, Complaint("E0108", base.span, "this is a number, not a tensor",
                            "only tensors are indexed"));
    value = error();
  }
  statement_->whole_values.emplace(&base, value);
  return value;
}

ExprRef Elaborator::index_expression(const ast::Expression& text, const ast::Expression& read,
                                     const Scope& scope) {
  if (text.kind == ExpressionKind::name && !text.name.text.empty()) {
    const std::string& name = text.name.text;
    const bool is_known = scope.find_index(name) != nullptr || scope.locals.contains(name) ||
                          (scope.frame != nullptr && scope.frame->names.contains(name)) ||
                          definitions_.model().constants.contains(name) ||
                          definitions_.library().constants.contains(name);
    if (!is_known && binding_reduction(name) == nullptr) {
      report(
          scope,
          Complaint("E0104", read.span,
                    fmt::format("index `{}` is neither on the left nor bound by a reduction", name),
                    fmt::format("`{}` has no binder", name))
              .note("a repeated index is not summed implicitly")
              .help(fmt::format("write `sum({}: ...)` around what is to be summed, or add `{}` "
                                "on the left",
                                name, name)));
      return nullptr;
    }
  }
  Scope inside = scope;
  inside.mode = Scope::Mode::element;
  Value value = evaluate(text, inside);
  if (value.is_error()) return nullptr;
  ExprRef index = value.is_boolean() ? nullptr : as_expression(value, ScalarType::i64);
  if (index == nullptr) {
    report(scope, Complaint("E0401", text.span, "an index must be an integer",
                            fmt::format("this is {}", type_text(value)))
                      .help(fmt::format("write `i32({})` to round toward zero", quote(text.span))));
  }
  return index;
}

void Elaborator::report_rank(const ast::Expression& e, const Value& base, size_t written,
                             const Scope& scope) {
  const std::string text = quote(e.base().span);
  Complaint complaint("E0205", e.span,
                      fmt::format("`{}` has rank {} but is indexed with {} {}", text,
                                  base.shape.size(), written, written == 1 ? "index" : "indices"),
                      fmt::format("{} {}", written, written == 1 ? "index" : "indices"));
  if (std::optional<std::string> name = named_tensor(base)) {
    complaint.other(current_->tensors.find(*name)->second.declared,
                    fmt::format("this is `{}`", tensor_text(base)));
  }
  if (written == 2 && base.shape.size() > 2) {
    complaint.help(fmt::format("to flatten it first, write `reshape({}, [...])`", text));
  }
  report(scope, std::move(complaint));
}

std::optional<std::vector<Elaborator::IndexPlace>> Elaborator::index_places(
    const ast::Expression& e, const Value& base, const Scope& scope) {
  const std::span<const ast::Expression> indices = e.indices();
  size_t written = indices.size();
  bool has_ellipsis = false;
  for (const ast::Expression& index : indices) {
    has_ellipsis = has_ellipsis || index.kind == ExpressionKind::ellipsis;
  }
  if (has_ellipsis) {
    if (!scope.pack) {
      report(scope, Complaint("E0108", e.span, "`...` stands for no indices here", "")
                        .note("`...` is an index on the left or of a reduction, in a layer whose "
                              "parameters have `...`"));
      return std::nullopt;
    }
    written = written - 1 + scope.pack->size();
  }
  if (written != base.shape.size()) {
    report_rank(e, base, written, scope);
    return std::nullopt;
  }
  std::vector<IndexPlace> places;
  bool ok = true;
  for (const ast::Expression& index : indices) {
    if (index.kind == ExpressionKind::ellipsis) {
      for (const std::string& name : *scope.pack) {
        places.push_back({&e, nullptr, places.size(), ir::make_index(name)});
      }
      continue;
    }
    ExprRef expression = index_expression(index, e, scope);
    ok = ok && expression != nullptr;
    places.push_back({&e, &index, places.size(), std::move(expression)});
  }
  if (!ok) return std::nullopt;
  return places;
}

Value Elaborator::evaluate_read(const ast::Expression& e, const Scope& scope) {
  if (scope.mode == Scope::Mode::constant || scope.mode == Scope::Mode::size) {
    return report_not_constant(e, scope, "a tensor is read here");
  }
  Value base = read_base(e.base(), scope);
  if (base.is_error()) return error();
  std::optional<std::vector<IndexPlace>> places = index_places(e, base, scope);
  if (!places) return error();

  const ScalarType type = base.expression->type.scalar;
  ExprRef otherwise;
  if (const ast::Expression* text = e.default_value()) {
    Operand value = {text, evaluate(*text, scope)};
    if (value.value.is_error()) return error();
    if (value.value.is_boolean() == (type == ScalarType::boolean)) {
      otherwise = as_expression(value.value, type);
    }
    if (otherwise == nullptr || !value.value.shape.empty()) {
      report(scope, Complaint("E0401", text->span, "this default does not fit the tensor",
                              fmt::format("this is {}", type_text(value.value)))
                        .other(e.base().span, fmt::format("elements of {}", type_text(base))));
      return error();
    }
  }
  bool may_leave = false;
  bool needs_zero = false;
  for (const IndexPlace& place : *places) {
    switch (check_bounds(place, base, scope)) {
      case Bounds::inside:
        break;
      case Bounds::inside_by_condition:
        needs_zero = true;
        break;
      case Bounds::may_leave:
        may_leave = true;
        break;
      case Bounds::failed:
        return error();
    }
  }
  // A proof by conditions (`if k < 0 then 0 else ...`) is the front end's alone; the default that
  // makes the read total for all others is never taken.
  if (needs_zero && otherwise == nullptr) {
    otherwise = type == ScalarType::boolean ? ir::make_boolean(false)
                                            : as_expression(Value::of_number(0), type);
  }
  if (!may_leave && !needs_zero) otherwise = nullptr;

  std::optional<std::string> name = named_tensor(base);
  if (!name && (otherwise != nullptr || mentions_random(base.expression))) {
    name = materialise(base, stored_type(base), statement_->name + "_value", e.base().span);
  }
  std::vector<ExprRef> indices;
  for (IndexPlace& place : *places) indices.push_back(std::move(place.index));
  if (name) {
    const ScalarType stored = current_->tensors.find(*name)->second.type;
    return Value::of_element(ir::make_read(*name, stored, std::move(indices), otherwise));
  }
  std::map<std::string, ExprRef> by_name;
  for (size_t d = 0; d < indices.size(); ++d) by_name[whole_index(d)] = indices[d];
  return Value::of_element(ir::substitute(base.expression, by_name), {}, base.is_flexible);
}

// ---------------------------------------------------------------- bounds

bool Elaborator::is_inside(const ExprRef& index, Extent extent) const {
  // Most reads use plain indices that run over the dimension: nothing needs to be solved for them.
  if (index->op == Op::index) {
    const auto known = statement_->ranges.by_name.find(index->name);
    const auto per_row = statement_->ranges.per_row.find(index->name);
    const bool is_over_rows = per_row != statement_->ranges.per_row.end();
    if (known != statement_->ranges.by_name.end() && known->second.min >= 0) {
      if (!extent.depends_on_rows() && known->second.max < extent.maximum) return true;
      if (extent.depends_on_rows() && is_over_rows && per_row->second <= extent.per_row)
        return true;
    }
  }
  std::optional<ir::Interval> below = ir::interval(index, statement_->ranges);
  if (!below || below->min < 0) return false;
  const ExprRef room = ir::make_binary(
      Op::subtract, fold_binary(Op::subtract, size_expression(extent), ir::make_integer(1)), index);
  std::optional<ir::Interval> above = ir::interval(room, statement_->ranges);
  return above && above->min >= 0;
}

std::optional<ir::Interval> Elaborator::value_interval(
    const ExprRef& e, const std::vector<IndexRange>& indices) const {
  // With more rows there are only more values, so the full batch tells all.
  const int64_t rows = current_->program.batch;
  ir::RangeAnalysis analysis(rows);
  for (const IndexRange& range : indices) {
    analysis.add_index(range.name, range.begin, range.end.at(rows));
  }
  ir::walk(e, [&](const ir::Expr& node) {
    if (node.op != Op::read) return;
    const TensorFacts& facts = current_->tensors.find(node.name)->second;
    if (facts.range) {
      analysis.add_tensor(node.name, {facts.range->begin, facts.range->end - 1});
    } else if (ir::is_integer(facts.type)) {
      analysis.add_tensor(node.name, ir::range_of_type(facts.type));
    }
  });
  const ir::ValueRange range = analysis.range(e);
  const ir::ValueRange anything = ir::range_of_type(ScalarType::i32);
  if (range.min <= anything.min || range.max >= anything.max) return std::nullopt;
  return ir::Interval{range.min, range.max};
}

Elaborator::Bounds Elaborator::check_bounds(const IndexPlace& place, const Value& base,
                                            const Scope& scope) {
  const Extent extent = base.shape[place.dimension];
  if (is_inside(place.index, extent)) return Bounds::inside;
  if (place.read->has_default) return Bounds::may_leave;
  std::optional<ir::Interval> bounds = value_interval(place.index, statement_->indices);
  if (bounds && !extent.depends_on_rows() && !mentions_rows(place.index) && bounds->min >= 0 &&
      bounds->max < extent.maximum) {
    return Bounds::inside_by_condition;
  }
  report_bounds(place, base, scope);
  return Bounds::failed;
}

void Elaborator::report_bounds(const IndexPlace& place, const Value& base, const Scope& scope) {
  const Extent extent = base.shape[place.dimension];
  const Span span = place.text != nullptr ? place.text->span : place.read->span;
  const std::string tensor = quote(place.read->base().span);
  std::string read = quote(place.read->span);
  if (read.ends_with(']')) read.pop_back();
  std::optional<ir::Interval> bounds = value_interval(place.index, statement_->indices);
  const bool from_data = reads_data(place.index);

  // The tensor that the index comes from, if there is one that could promise a range.
  const TensorFacts* source = nullptr;
  std::string source_name;
  ir::walk(place.index, [&](const ir::Expr& node) {
    if (node.op != Op::read || source != nullptr) return;
    source = &current_->tensors.find(node.name)->second;
    source_name = node.name;
  });
  const std::string size = size_text(extent);
  if (!bounds) {
    // A range is a promise about integers; what is computed from reals cannot have one.
    const bool is_promise_possible = source != nullptr && !ir::is_real(source->type);
    Complaint complaint("E0206", span, "this index has no known range",
                        is_promise_possible
                            ? fmt::format("any `{}` may come in", ir::spelling(source->type))
                            : "it may be any integer");
    if (is_promise_possible) {
      complaint.other(source->declared, "declared without a range");
      complaint.note(
          "indices that come from data are checked once when a batch is loaded, not in the kernel");
    }
    if (is_promise_possible && source->is_input) {
      complaint.help(
          fmt::format("declare `input {}: {} in 0..{}`", source_name, tensor_text(*source), size));
    } else {
      const std::string last =
          extent.per_row == 0 ? fmt::format("{}", extent.maximum - 1) : size + " - 1";
      complaint.help(fmt::format("write `clamp({}, 0, {})`, or give a default: `{} else 0]`",
                                 quote(span), last, read));
    }
    report(scope, std::move(complaint));
    return;
  }
  const std::string range = fmt::format("{}..{}", bounds->min, bounds->max + 1);
  if (from_data && place.index->op == Op::read) {
    Complaint complaint("E0207", span, fmt::format("`{}` may be outside 0..{}", quote(span), size),
                        fmt::format("must lie in 0..{} because dimension {} of `{}` has that size",
                                    size, place.dimension, tensor));
    if (source != nullptr) {
      complaint.other(source->declared, fmt::format("may be anything in {}", range));
      if (source->is_input) {
        complaint.help(fmt::format("declare `input {}: {} in 0..{}`", source_name,
                                   tensor_text(*source), size));
      }
    }
    report(scope, std::move(complaint));
    return;
  }
  // Ranges are computed for a full batch.
  const std::string rows =
      extent.per_row == 0 ? std::string() : fmt::format(" = 0..{}", extent.maximum);
  report(scope, Complaint("E0203", span, "this read can leave the tensor",
                          fmt::format("ranges over {}, but dimension {} of `{}` is 0..{}{}", range,
                                      place.dimension, tensor, size, rows))
                    .help(fmt::format(
                        "for a default outside, such as zero padding, write `{} else 0]`", read))
                    .help("or make the ranges of its indices smaller"));
}

}  // namespace fusegrad::frontend
