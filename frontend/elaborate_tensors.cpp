// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads, reductions and index ranges, and the statements of T that they become: one reduction a
// statement, at its root.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "frontend/elaborator.h"
#include "ir/expr_text.h"
#include "ir/support/check.h"

namespace fusegrad::frontend {

using ast::ExpressionKind;
using ir::ExprRef;
using ir::Extent;
using ir::IndexRange;
using ir::Op;
using ir::ScalarType;

namespace {

bool mentions_name(const ast::Expression& e, std::string_view name) {
  if (e.kind == ExpressionKind::name && e.name.text == name) return true;
  for (const ast::Expression& operand : e.operands) {
    if (mentions_name(operand, name)) return true;
  }
  for (const ast::Argument& argument : e.arguments) {
    if (mentions_name(argument.value, name)) return true;
  }
  return false;
}

/// The index expression of a read in which the name occurs, and nothing if there is none.
const ast::Expression* compound_use(const ast::Expression& e, std::string_view name) {
  if (e.kind == ExpressionKind::read) {
    for (const ast::Expression& index : e.indices()) {
      if (mentions_name(index, name)) return &index;
    }
  }
  for (const ast::Expression& operand : e.operands) {
    if (const ast::Expression* found = compound_use(operand, name)) return found;
  }
  for (const ast::Argument& argument : e.arguments) {
    if (const ast::Expression* found = compound_use(argument.value, name)) return found;
  }
  return nullptr;
}

bool mentions_random(const ExprRef& e) {
  bool found = false;
  ir::walk(e, [&](const ir::Expr& node) {
    found = found || node.op == Op::rand || node.op == Op::normal;
  });
  return found;
}

bool reads_data(const ExprRef& e) {
  bool found = false;
  ir::walk(e, [&](const ir::Expr& node) { found = found || node.op == Op::read; });
  return found;
}

ir::Reduction tensor_reduction(ast::ReductionOperator op) {
  switch (op) {
    case ast::ReductionOperator::sum:
    case ast::ReductionOperator::mean:
      return ir::Reduction::sum;
    case ast::ReductionOperator::max:
      return ir::Reduction::max;
    case ast::ReductionOperator::min:
      return ir::Reduction::min;
    case ast::ReductionOperator::argmax:
      return ir::Reduction::argmax;
    case ast::ReductionOperator::argmin:
      return ir::Reduction::argmin;
    case ast::ReductionOperator::any:
      return ir::Reduction::any;
    case ast::ReductionOperator::all:
      return ir::Reduction::all;
  }
  return ir::Reduction::sum;
}

ExprRef extent_expression(Extent extent) {
  return as_expression(Value::of_integer(extent), ScalarType::i64);
}

/// Points of a range, as a size.
Extent length(const IndexRange& range) {
  if (range.end.depends_on_rows()) return range.end;  // such ranges begin at 0
  return Extent::number(std::max<int64_t>(range.end.maximum - range.begin, 0));
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

namespace {

/// Bounds of an expression that also hold because of the conditions around it: in the second branch
/// of `if k < 0 then ... else ...`, k is at least 0.
class ConditionalBounds {
 public:
  explicit ConditionalBounds(const ir::IndexRanges& ranges) : ranges_(ranges) {}

  ir::Interval bounds(const ExprRef& e) {
    ir::Interval known = {lowest, highest};
    if (++visits_ > max_visits) return known;
    if (e->op == Op::select) {
      const ExprRef& condition = e->operands[0];
      const size_t before = known_.size();
      assume(condition, true);
      const ir::Interval a = bounds(e->operands[1]);
      known_.resize(before);
      assume(condition, false);
      const ir::Interval b = bounds(e->operands[2]);
      known_.resize(before);
      known = {std::min(a.min, b.min), std::max(a.max, b.max)};
    } else if (std::optional<ir::Interval> plain = ir::interval(e, ranges_)) {
      known = *plain;
    }
    for (const auto& [expression, interval] : known_) {
      if (!ir::same(expression, e)) continue;
      known = {std::max(known.min, interval.min), std::min(known.max, interval.max)};
    }
    return known;
  }

 private:
  static constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
  static constexpr int64_t highest = std::numeric_limits<int64_t>::max();

  void assume(const ExprRef& condition, bool is_true) {
    const Op op = condition->op;
    if (!ir::is_comparison(op) || op == Op::equal || op == Op::not_equal) return;
    const ExprRef& a = condition->operands[0];
    const ExprRef& b = condition->operands[1];
    if (a->type.scalar != ScalarType::i64) return;
    const bool is_less = op == Op::less || op == Op::less_equal;
    // Either way it says: smaller < larger, or smaller <= larger.
    const bool a_is_smaller = is_less == is_true;
    const bool is_strict = (op == Op::less || op == Op::greater) == is_true;
    const ExprRef& smaller = a_is_smaller ? a : b;
    const ExprRef& larger = a_is_smaller ? b : a;
    const ir::Interval below = bounds(smaller);
    const ir::Interval above = bounds(larger);
    const int64_t step = is_strict ? 1 : 0;
    const int64_t most = above.max == highest ? highest : above.max - step;
    const int64_t least = below.min == lowest ? lowest : below.min + step;
    known_.push_back({smaller, {lowest, most}});
    known_.push_back({larger, {least, highest}});
  }

  static constexpr int max_visits = 1000;
  const ir::IndexRanges& ranges_;
  std::vector<std::pair<ExprRef, ir::Interval>> known_;
  int visits_ = 0;
};

}  // namespace

bool Elaborator::is_inside(const ExprRef& index, Extent extent) const {
  std::optional<ir::Interval> below = ir::interval(index, statement_->ranges);
  if (!below || below->min < 0) return false;
  const ExprRef room = ir::make_binary(
      Op::subtract, fold_binary(Op::subtract, extent_expression(extent), ir::make_integer(1)),
      index);
  std::optional<ir::Interval> above = ir::interval(room, statement_->ranges);
  return above && above->min >= 0;
}

std::optional<ir::Interval> Elaborator::value_interval(const ExprRef& e) const {
  ir::Interval bounds = ConditionalBounds(statement_->ranges).bounds(e);
  if (bounds.min == std::numeric_limits<int64_t>::min() ||
      bounds.max == std::numeric_limits<int64_t>::max()) {
    return std::nullopt;
  }
  return bounds;
}

Elaborator::Bounds Elaborator::check_bounds(const IndexPlace& place, const Value& base,
                                            const Scope& scope) {
  const Extent extent = base.shape[place.dimension];
  if (is_inside(place.index, extent)) return Bounds::inside;
  if (place.read->has_default) return Bounds::may_leave;
  std::optional<ir::Interval> bounds = value_interval(place.index);
  if (bounds && !extent.depends_on_rows() && bounds->min >= 0 && bounds->max < extent.maximum) {
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
  std::optional<ir::Interval> bounds = value_interval(place.index);
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
    Complaint complaint("E0206", span, "this index has no known range",
                        source != nullptr
                            ? fmt::format("any `{}` may come in", ir::spelling(source->type))
                            : "it may be anything");
    if (source != nullptr) complaint.other(source->declared, "declared without a range");
    complaint.note(
        "indices that come from data are checked once when a batch is loaded, not in the kernel");
    if (source != nullptr && source->is_input) {
      complaint.help(
          fmt::format("declare `input {}: {} in 0..{}`", source_name, tensor_text(*source), size));
    } else {
      complaint.help(fmt::format("write `clamp({}, 0, {} - 1)`, or give a default: `{} else 0]`",
                                 quote(span), size, read));
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
  report(scope, Complaint("E0203", span, "this read can leave the tensor",
                          fmt::format("ranges over {}, but dimension {} of `{}` is 0..{}", range,
                                      place.dimension, tensor, size))
                    .help(fmt::format(
                        "for a default outside, such as zero padding, write `{} else 0]`", read))
                    .help("or make the ranges of its indices smaller"));
}

// ---------------------------------------------------------------- ranges

void Elaborator::collect_uses(const ast::Expression& e, std::string_view index, const Scope& scope,
                              std::vector<IndexUse>& out) {
  if (!charge(scope.frame != nullptr ? scope.frame : scope.site, e.span)) return;
  if (e.kind == ExpressionKind::reduction) {
    for (const ast::Binder& binder : e.binders) {
      if (binder.name.text == index) return;  // another index of this name
    }
  }
  if (e.kind == ExpressionKind::read) {
    bool is_bare_somewhere = false;
    size_t written = e.indices().size();
    bool has_ellipsis = false;
    for (const ast::Expression& i : e.indices()) {
      has_ellipsis = has_ellipsis || i.kind == ExpressionKind::ellipsis;
      is_bare_somewhere =
          is_bare_somewhere || (i.kind == ExpressionKind::name && i.name.text == index);
    }
    if (is_bare_somewhere) {
      Value base = read_base(e.base(), scope);
      if (base.is_error()) out.push_back({Extent{}, Span{}});  // the size is anybody's guess
      const size_t rank = base.shape.size();
      // With another number of indices the read itself is an error, which is told later.
      if (!base.is_error() && (has_ellipsis ? rank + 1 >= written : rank == written)) {
        size_t dimension = 0;
        for (const ast::Expression& i : e.indices()) {
          if (i.kind == ExpressionKind::ellipsis) {
            dimension += rank + 1 - written;
            continue;
          }
          if (i.kind == ExpressionKind::name && i.name.text == index) {
            out.push_back({base.shape[dimension], e.span});
          }
          ++dimension;
        }
      }
    }
  }
  for (const ast::Expression& operand : e.operands) collect_uses(operand, index, scope, out);
  for (const ast::Argument& argument : e.arguments) {
    collect_uses(argument.value, index, scope, out);
  }
}

std::optional<Extent> Elaborator::infer_extent(const ast::Binder& binder,
                                               const std::vector<IndexUse>& uses,
                                               const IndexUse* declared,
                                               const ast::Expression& body, const Scope& scope) {
  const std::string& name = binder.name.text;
  for (const IndexUse& use : uses) {
    if (!use.span.valid()) return std::nullopt;  // a tensor in error, which was reported
  }
  const IndexUse* first = declared != nullptr ? declared : uses.empty() ? nullptr : &uses[0];
  if (first == nullptr) {
    const ast::Expression* compound = compound_use(body, name);
    // A body that is wrong already says nothing about sizes.
    if (compound == nullptr && body.kind == ExpressionKind::invalid) return std::nullopt;
    Complaint complaint("E0202", binder.span, fmt::format("the range of `{}` is unknown", name),
                        compound != nullptr
                            ? fmt::format("appears only inside `{}`", quote(compound->span))
                            : "no tensor is indexed with it");
    complaint.note(compound != nullptr
                       ? "sizes are never guessed by solving for the indices that stay in range"
                       : "the size of an index comes from the dimensions that it indexes by "
                         "itself");
    complaint.help(fmt::format("give the range: `{} in 0..N`", name));
    report(scope, std::move(complaint));
    return std::nullopt;
  }
  for (const IndexUse& use : uses) {
    if (use.extent == first->extent) continue;
    report(scope,
           Complaint("E0201", use.span, fmt::format("index `{}` has two different sizes", name),
                     fmt::format("here `{}` has size {}", name, size_text(use.extent)))
               .other(first->span,
                      fmt::format("here `{}` has size {}", name, size_text(first->extent)))
               .note("the size of an index comes from every dimension it indexes by itself"));
    return std::nullopt;
  }
  return first->extent;
}

std::optional<IndexRange> Elaborator::explicit_range(const ast::Range& range, const Scope& scope) {
  Scope sizes = scope.with_mode(Scope::Mode::size);
  std::optional<Extent> begin =
      evaluate_size(range.begin, sizes, std::numeric_limits<int64_t>::min());
  std::optional<Extent> end = evaluate_size(range.end, sizes, std::numeric_limits<int64_t>::min());
  if (!begin || !end) return std::nullopt;
  if (begin->depends_on_rows() || (end->depends_on_rows() && begin->maximum != 0)) {
    report(scope, Complaint("E0210", range.span, "a range over the batch begins at 0",
                            fmt::format("this is {}..{}", size_text(*begin), size_text(*end)))
                      .help("leave out rows with `where`"));
    return std::nullopt;
  }
  if (end->per_row < 0 || (!end->depends_on_rows() && end->maximum < begin->maximum)) {
    report(scope, Complaint("E0212", range.span, "this range ends before it begins",
                            fmt::format("this is {}..{}", size_text(*begin), size_text(*end))));
    return std::nullopt;
  }
  return IndexRange{"", begin->maximum, *end};
}

std::string Elaborator::add_index(std::string_view base, int64_t begin, Extent end) {
  std::string internal = fmt::format("{}#{}", base, ++index_count_);
  statement_->ranges.add(internal, begin, end);
  statement_->indices.push_back({internal, begin, end});
  return internal;
}

bool Elaborator::add_binder(const ast::Binder& binder, const ast::Expression& reduction,
                            Scope& inner, std::vector<IndexRange>& binders) {
  if (binder.is_ellipsis) {
    if (inner.frame == nullptr || !inner.frame->pack) {
      report(inner, Complaint("E0108", binder.span, "`...` stands for no indices here", "")
                        .note("`...` needs a parameter of the layer that has `...` in its type"));
      return false;
    }
    if (inner.pack) {
      report(inner, Complaint("E0105", binder.span, "`...` is already bound",
                              "this would hide the outer `...`"));
      return false;
    }
    std::vector<std::string> pack;
    for (const Extent& extent : *inner.frame->pack) {
      const std::string base = pack.empty() ? "p" : fmt::format("p{}", pack.size() + 1);
      pack.push_back(add_index(base, 0, extent));
      binders.push_back({pack.back(), 0, extent});
    }
    inner.pack = std::move(pack);
    return true;
  }
  const std::string& name = binder.name.text;
  if (name.empty()) return false;
  if (const Scope::Index* outer = inner.find_index(name)) {
    report(inner,
           Complaint("E0105", binder.name.span, fmt::format("index `{}` is already bound", name),
                     fmt::format("this would hide the outer `{}`", name))
               .other(outer->span, "first bound here")
               .help(fmt::format("give one of them another name, or drop the outer `{}`", name)));
    return false;
  }
  std::optional<IndexRange> range;
  if (binder.range) {
    range = explicit_range(*binder.range, inner);
  } else {
    std::vector<IndexUse> uses;
    collect_uses(reduction.body(), name, inner, uses);
    if (const ast::Expression* condition = reduction.condition()) {
      collect_uses(*condition, name, inner, uses);
    }
    std::optional<Extent> extent = infer_extent(binder, uses, nullptr, reduction.body(), inner);
    if (extent) range = IndexRange{"", 0, *extent};
  }
  if (!range) return false;
  const std::string internal = add_index(name, range->begin, range->end);
  inner.indices.push_back({name, internal, binder.name.span});
  binders.push_back({internal, range->begin, range->end});
  return true;
}

// ---------------------------------------------------------------- reductions

Value Elaborator::evaluate_reduction(const ast::Expression& e, const Scope& scope) {
  if (scope.mode == Scope::Mode::constant || scope.mode == Scope::Mode::size) {
    return report_not_constant(e, scope, "a reduction is computed at run time");
  }
  if (scope.tags != nullptr) {
    report(scope, Complaint("E0902", e.span, "reductions in optimizers are not supported yet", "")
                      .note("an optimizer is a rule for each element by itself"));
    return error();
  }
  Scope inner = scope;
  inner.mode = Scope::Mode::element;
  std::vector<IndexRange> binders;
  bool ok = true;
  for (const ast::Binder& binder : e.binders) ok = add_binder(binder, e, inner, binders) && ok;
  if (!ok) return error();

  ExprRef condition;
  ir::Shape outer_shape;
  if (const ast::Expression* text = e.condition()) {
    Operand value = {text, evaluate(*text, inner)};
    condition = boolean_operand(value, "where", inner);
    if (condition == nullptr) return error();
    if (ir::is_boolean_constant(condition, true)) condition = nullptr;
    outer_shape = value.value.shape;
  }
  Operand body = {&e.body(), evaluate(e.body(), inner)};
  if (body.value.is_error()) return error();
  if (outer_shape.empty()) outer_shape = body.value.shape;
  return lift_reduction(e.reduction, binders, condition, body, outer_shape, e, inner);
}

Value Elaborator::evaluate_whole_reduction(const ast::Expression& e, const Scope& scope) {
  if (scope.mode == Scope::Mode::constant || scope.mode == Scope::Mode::size) {
    return report_not_constant(e, scope, "a reduction is computed at run time");
  }
  const ast::Expression& text = e.arguments[0].value;
  Value whole = evaluate(text, scope.with_mode(Scope::Mode::whole));
  if (whole.is_error()) return error();
  if (whole.kind != ValueKind::element || whole.shape.empty()) {
    report(scope, Complaint("E0108", text.span, fmt::format("`{}` needs a tensor", e.name.text),
                            "this is a single number"));
    return error();
  }
  if (mentions_random(whole.expression)) {
    const std::string tensor =
        materialise(whole, stored_type(whole), statement_->name + "_value", text.span);
    whole = tensor_value(tensor);
  }
  std::vector<IndexRange> binders;
  std::map<std::string, ExprRef> by_name;
  for (size_t d = 0; d < whole.shape.size(); ++d) {
    const std::string base = d == 0 ? "r" : fmt::format("r{}", d + 1);
    const std::string internal = add_index(base, 0, whole.shape[d]);
    binders.push_back({internal, 0, whole.shape[d]});
    by_name[whole_index(d)] = ir::make_index(internal);
  }
  Operand body = {
      &text, Value::of_element(ir::substitute(whole.expression, by_name), {}, whole.is_flexible)};
  ast::ReductionOperator op = ast::ReductionOperator::sum;
  for (int i = 0; i <= static_cast<int>(ast::ReductionOperator::all); ++i) {
    const auto candidate = static_cast<ast::ReductionOperator>(i);
    if (ast::spelling(candidate) == e.name.text) op = candidate;
  }
  return lift_reduction(op, binders, nullptr, body, {}, e, scope);
}

Value Elaborator::lift_reduction(ast::ReductionOperator op, const std::vector<IndexRange>& binders,
                                 const ExprRef& condition, const Operand& body,
                                 const ir::Shape& outer_shape, const ast::Expression& e,
                                 const Scope& scope) {
  const std::string_view word = ast::spelling(op);
  Reduced reduced;
  reduced.op = tensor_reduction(op);
  reduced.word = op == ast::ReductionOperator::mean ? "sum" : word;
  reduced.binders = binders;
  reduced.condition = condition;

  if (op == ast::ReductionOperator::any || op == ast::ReductionOperator::all) {
    reduced.body = boolean_operand(body, word, scope);
    reduced.type = ScalarType::boolean;
    if (reduced.body == nullptr) return error();
    ExprRef result = emit_reduction(std::move(reduced), outer_shape, e.span, scope);
    return result == nullptr ? error() : Value::of_element(std::move(result), outer_shape);
  }
  if (body.value.is_boolean()) {
    report(scope, Complaint("E0402", body.text->span,
                            fmt::format("`{}` needs numbers, not `bool`", word), "this is `bool`")
                      .help(fmt::format("write `{}(... if ... then 1 else 0)`", word)));
    return error();
  }
  const bool is_mean = op == ast::ReductionOperator::mean;
  if (is_mean || !body.value.is_typed_integer()) {
    reduced.body = real_operand(body, word, scope);
    if (reduced.body == nullptr) return error();
    reduced.type = reduced.body->type.scalar;
  } else {
    reduced.body = as_expression(body.value, ScalarType::i64);
    reduced.type = ScalarType::i32;
  }
  const bool is_position =
      op == ast::ReductionOperator::argmax || op == ast::ReductionOperator::argmin;
  if (is_position) {
    int64_t count = 1;
    for (const IndexRange& binder : binders) {
      std::optional<int64_t> product = ir::checked_multiply(count, length(binder).maximum);
      if (!product || *product > std::numeric_limits<int32_t>::max()) {
        report(scope, Complaint("E0306", e.span, fmt::format("`{}` over too many elements", word),
                                "positions must fit 32 bits"));
        return error();
      }
      count = *product;
    }
    reduced.type = ScalarType::i32;
    reduced.range = ir::IntegerRange{0, std::max<int64_t>(count, 1)};
  }
  const ScalarType type = reduced.type;
  ExprRef result = emit_reduction(reduced, outer_shape, e.span, scope);
  if (result == nullptr) return error();
  if (is_position && binders.size() == 1) {
    // T counts from the beginning of the range; the language names the index itself.
    result = fold_binary(Op::add, result, ir::make_integer(binders[0].begin));
  }
  if (!is_mean) return Value::of_element(std::move(result), outer_shape);

  ExprRef count;
  if (condition != nullptr) {
    reduced.word = "count";
    reduced.body = ir::make_real(1, type);
    ExprRef points = emit_reduction(std::move(reduced), outer_shape, e.span, scope);
    if (points == nullptr) return error();
    // The mean of nothing is 0: the sum is.
    count = ir::make_binary(Op::maximum, points, ir::make_real(1, type));
  } else {
    ExprRef product = ir::make_integer(1);
    for (const IndexRange& binder : binders) {
      product = fold_binary(Op::multiply, product, extent_expression(length(binder)));
    }
    if (ir::is_constant(product)) {
      count = ir::make_real(static_cast<double>(std::max<int64_t>(product->integer, 1)), type);
    } else {
      count = ir::make_convert(type, product);
    }
  }
  return Value::of_element(fold_binary(Op::divide, result, count), outer_shape);
}

std::vector<IndexRange> Elaborator::used_indices(const ExprRef& body, const ExprRef& condition,
                                                 const std::vector<IndexRange>& without) const {
  std::set<std::string> used = ir::free_indices(body);
  if (condition != nullptr) used.merge(ir::free_indices(condition));
  for (const IndexRange& binder : without) used.erase(binder.name);
  std::vector<IndexRange> result;
  for (const IndexRange& range : statement_->indices) {
    if (used.contains(range.name)) result.push_back(range);
  }
  return result;
}

ExprRef Elaborator::emit_reduction(Reduced reduced, const ir::Shape& outer_shape, Span span,
                                   const Scope& scope) {
  if (!charge(scope.frame, span)) return nullptr;
  if (ir::mentions_index(reduced.body, position_index)) {
    report(scope, Complaint("E0902", span,
                            "random numbers in a reduction over whole tensors are not supported "
                            "yet",
                            "")
                      .help("define the elements one by one"));
    return nullptr;
  }
  ir::TensorStatement statement;
  std::vector<ExprRef> read_indices;
  for (size_t d = 0; d < outer_shape.size(); ++d) {
    statement.indices.push_back({whole_index(d), 0, outer_shape[d]});
    read_indices.push_back(ir::make_index(whole_index(d)));
  }
  LiftedReduction lifted;
  std::map<std::string, ExprRef> shifted;
  for (const IndexRange& range : used_indices(reduced.body, reduced.condition, reduced.binders)) {
    ExprRef index = ir::make_index(range.name);
    lifted.indices.push_back(range.name);
    if (range.begin == 0) {
      statement.indices.push_back(range);
      read_indices.push_back(std::move(index));
      continue;
    }
    // Left indices begin at 0, so an outer index that does not is moved there.
    IndexRange moved = {range.name, 0, length(range)};
    statement.indices.push_back(moved);
    shifted[range.name] = fold_binary(Op::add, index, ir::make_integer(range.begin));
    read_indices.push_back(fold_binary(Op::subtract, index, ir::make_integer(range.begin)));
    lifted.indices.back() += "'";  // is never the left side as it stands
  }
  statement.name = fmt::format("{}_{}", statement_->name, reduced.word);
  statement.type = reduced.type;
  statement.reduction = reduced.op;
  statement.binders = std::move(reduced.binders);
  statement.condition =
      reduced.condition == nullptr ? nullptr : ir::substitute(reduced.condition, shifted);
  statement.value = ir::substitute(reduced.body, shifted);
  statement.origin = statement_->origin;
  lifted.tensor = emit(std::move(statement));
  if (reduced.range) current_->tensors.find(lifted.tensor)->second.range = reduced.range;
  ExprRef result = ir::make_read(lifted.tensor, reduced.type, std::move(read_indices));
  statement_->lifted.push_back(std::move(lifted));
  return result;
}

// ---------------------------------------------------------------- statements of T

std::optional<std::string> Elaborator::named_tensor(const Value& value) const {
  if (value.kind != ValueKind::element) return std::nullopt;
  const ir::Expr& e = *value.expression;
  if (e.op != Op::read || e.has_else || e.operands.size() != value.shape.size()) {
    return std::nullopt;
  }
  for (size_t d = 0; d < e.operands.size(); ++d) {
    if (!ir::is_index(e.operands[d]) || e.operands[d]->name != whole_index(d)) return std::nullopt;
  }
  auto found = current_->tensors.find(e.name);
  if (found == current_->tensors.end() || found->second.shape != value.shape) return std::nullopt;
  return e.name;
}

ScalarType Elaborator::stored_type(const Value& value) const {
  if (value.is_boolean()) return ScalarType::boolean;
  if (value.is_typed_real()) return value.expression->type.scalar;
  if (!value.is_typed_integer()) return options_.real;
  if (value.expression->op == Op::read) {
    auto found = current_->tensors.find(value.expression->name);
    const bool is_bytes = found != current_->tensors.end() && found->second.type == ScalarType::u8;
    const ExprRef* otherwise =
        value.expression->has_else ? &value.expression->else_value() : nullptr;
    if (is_bytes && (otherwise == nullptr || ir::is_integer_constant(*otherwise, 0))) {
      return ScalarType::u8;
    }
  }
  return ScalarType::i32;
}

std::string Elaborator::unique_name(std::string_view base) const {
  const std::string wanted(base);
  std::string candidate = wanted;
  const bool is_word = ir::is_uniform_name(base) || is_builtin_function(base) ||
                       ir::parse_scalar_type(base) || !ir::is_valid_name(base);
  for (int i = 2; (i == 2 && is_word) || current_->tensors.contains(candidate) ||
                  stable_names_.taken.contains(candidate);
       ++i) {
    candidate = fmt::format("{}_{}", wanted, i);
  }
  return candidate;
}

void Elaborator::check_element_count(const ir::Shape& shape, Span span, const Frame* frame) {
  std::optional<int64_t> count = ir::element_count(shape);
  // Far beyond any memory, and products of a few such counts still fit 63 bits.
  constexpr int64_t most = int64_t{1} << 48;
  if (count && *count <= most) return;
  report(frame, Complaint("E0306", span, "this tensor has too many elements",
                          fmt::format("it is {}", shape_text(shape))));
}

void Elaborator::rename_indices(ir::TensorStatement& statement) const {
  std::set<std::string, std::less<>> taken;
  auto add_reads = [&](const ExprRef& e) {
    if (e == nullptr) return;
    ir::walk(e, [&](const ir::Expr& node) {
      if (node.op == Op::read || node.op == Op::uniform) taken.insert(node.name);
    });
  };
  add_reads(statement.condition);
  add_reads(statement.value);
  std::map<std::string, ExprRef> by_name;
  for (std::vector<IndexRange>* ranges : {&statement.indices, &statement.binders}) {
    for (IndexRange& range : *ranges) {
      std::string base = range.name.substr(0, range.name.find('#'));
      if (base.starts_with('$')) {
        const size_t dimension = static_cast<size_t>(&range - statement.indices.data());
        base = dimension == 0 ? "i" : fmt::format("i{}", dimension + 1);
      }
      std::string name = base;
      const bool is_word = ir::is_uniform_name(base) || is_builtin_function(base) ||
                           ir::parse_scalar_type(base) || !ir::is_valid_name(base);
      for (int i = 2; (i == 2 && is_word) || taken.contains(name); ++i) {
        name = fmt::format("{}_{}", base, i);
      }
      taken.insert(name);
      by_name[range.name] = ir::make_index(name);
      range.name = name;
    }
  }
  if (statement.condition != nullptr) {
    statement.condition = ir::substitute(statement.condition, by_name);
  }
  statement.value = ir::substitute(statement.value, by_name);
}

std::string Elaborator::emit(ir::TensorStatement statement) {
  statement.name = unique_name(statement.name);
  if (ir::mentions_index(statement.value, position_index)) {
    std::vector<ExprRef> indices;
    for (const IndexRange& range : statement.indices) {
      indices.push_back(ir::make_index(range.name));
    }
    statement.value = ir::substitute(
        statement.value,
        {{std::string(position_index), row_major_position(indices, statement.shape())}});
  }
  TensorFacts facts;
  facts.shape = statement.shape();
  facts.type = statement.type;
  facts.declared = statement.origin;
  if (statement.type == ScalarType::i32 && statement.reduction == ir::Reduction::none) {
    ir::IndexRanges ranges = statement_->ranges;
    for (const IndexRange& range : statement.indices)
      ranges.add(range.name, range.begin, range.end);
    ir::Interval bounds = ConditionalBounds(ranges).bounds(statement.value);
    if (bounds.min >= std::numeric_limits<int32_t>::min() &&
        bounds.max <= std::numeric_limits<int32_t>::max()) {
      facts.range = ir::IntegerRange{bounds.min, bounds.max + 1};
    }
  }
  rename_indices(statement);
  std::string name = statement.name;
  current_->tensors.emplace(name, std::move(facts));
  current_->program.statements.push_back(std::move(statement));
  return name;
}

std::string Elaborator::materialise(const Value& value, ScalarType type, std::string_view name,
                                    Span origin) {
  if (std::optional<std::string> tensor = named_tensor(value)) {
    if (current_->tensors.find(*tensor)->second.type == type) return *tensor;
  }
  ir::TensorStatement statement;
  statement.name = name;
  for (size_t d = 0; d < value.shape.size(); ++d) {
    statement.indices.push_back({whole_index(d), 0, value.shape[d]});
  }
  statement.type = type;
  statement.value = as_expression(value, ir::value_type(type));
  FG_CHECK(statement.value != nullptr, "`{}` stored as {}", name, ir::spelling(type));
  statement.origin = origin;
  return emit(std::move(statement));
}

}  // namespace fusegrad::frontend
