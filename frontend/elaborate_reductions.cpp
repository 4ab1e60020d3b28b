// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Index ranges and reductions: each reduction becomes a statement of T of its own.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "frontend/elaborator.h"

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

/// The binder of that name in a reduction inside of `e`.
const ast::Binder* find_binder(const ast::Expression& e, std::string_view name) {
  for (const ast::Binder& binder : e.binders) {
    if (!binder.is_ellipsis && binder.name.text == name) return &binder;
  }
  for (const ast::Expression& operand : e.operands) {
    if (const ast::Binder* found = find_binder(operand, name)) return found;
  }
  for (const ast::Argument& argument : e.arguments) {
    if (const ast::Binder* found = find_binder(argument.value, name)) return found;
  }
  return nullptr;
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

/// Points of a range, as a size.
Extent length(const IndexRange& range) {
  if (range.end.depends_on_rows()) return range.end;  // such ranges begin at 0
  return Extent::number(std::max<int64_t>(range.end.maximum - range.begin, 0));
}

}  // namespace

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
      if (!base.is_error() && !has_ellipsis && rank != written) {
        report_rank(e, base, written, scope);
        out.push_back({Extent{}, Span{}});
      } else if (!base.is_error() && (!has_ellipsis || rank + 1 >= written)) {
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
    if (const ast::Binder* inner = find_binder(body, name)) {
      report(scope,
             Complaint("E0105", inner->name.span, fmt::format("index `{}` is already bound", name),
                       fmt::format("this would hide the outer `{}`", name))
                 .other(binder.name.span, "first bound here")
                 .help(fmt::format("give one of them another name, or drop the outer `{}`", name)));
      return std::nullopt;
    }
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
    report(scope,
           Complaint("E0402", body.text->span, fmt::format("`{}` needs numbers, not `bool`", word),
                     "this is `bool`")
               .help(fmt::format("write `{}if ... then 1 else 0)`",
                                 quote({e.span.file, e.span.begin, body.text->span.begin}))));
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
    // Numbers first, so that they fold; then the rows of each range over the batch.
    ExprRef product = ir::make_integer(1);
    for (const bool varies : {false, true}) {
      for (const IndexRange& binder : binders) {
        const Extent points = length(binder);
        if (points.depends_on_rows() != varies) continue;
        product = fold_binary(Op::multiply, size_expression(points), product);
      }
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

}  // namespace fusegrad::frontend
