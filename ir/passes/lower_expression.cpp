// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Expressions of K to L: indices become addresses, reads become loads that are always in bounds,
// and what differs from lane to lane becomes a vector.
#include "ir/passes/lower_expression.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/kernel/segment.h"
#include "ir/passes/addressing.h"
#include "ir/support/check.h"

namespace fusegrad::ir {

ExpressionLowering::ExpressionLowering(const KernelProgram& program, const BufferIndex& buffers,
                                       const Kernel& kernel, LoopBuilder& builder)
    : program_(program),
      buffers_(buffers),
      kernel_(kernel),
      builder_(builder),
      tile_offset_(make_integer(0)) {
  kernel_ranges_.add_rows(program.batch);
  auto add = [&](const IndexRange& range) {
    kernel_ranges_.add(range.name, range.begin, range.end);
  };
  for (const IndexRange& row : kernel.rows) add(row);
  for (const KernelStatement& statement : kernel.statements) {
    for (const KernelIndex& index : statement.indices) {
      if (!index.is_row) add(index.range);
    }
    for (const IndexRange& binder : statement.binders) add(binder);
  }
  kernel_ranges_.other = [this](const Expr& node) { return value_range(node); };
}

std::optional<Interval> ExpressionLowering::value_range(const Expr& node) const {
  if (node.op != Op::read) return std::nullopt;
  auto with_else = [&](Interval range) -> std::optional<Interval> {
    if (!node.has_else) return range;
    const ExprRef& other = node.else_value();
    if (!is_constant(other)) return std::nullopt;
    return Interval{std::min(range.min, other->integer), std::max(range.max, other->integer)};
  };
  if (auto found = locals_.find(node.name); found != locals_.end()) {
    if (!found->second.range) return std::nullopt;
    return with_else({found->second.range->begin, found->second.range->end - 1});
  }
  const Buffer* buffer = buffers_.find(node.name);
  if (buffer == nullptr) return std::nullopt;
  if (buffer->range) return with_else({buffer->range->begin, buffer->range->end - 1});
  if (buffer->kind == BufferKind::derived) {
    const IntegerRange values = values_of_derived(program_.buffers, *buffer);
    return with_else({values.begin, values.end - 1});
  }
  if (buffer->type == ScalarType::u8) return with_else({0, 255});
  return std::nullopt;
}

ExprRef ExpressionLowering::widen(const ExprRef& value, int lanes) {
  if (value->type.lanes == lanes) return value;
  FG_CHECK(value->type.lanes == 1, "widening {} to {} lanes", spelling(value->type), lanes);
  return make_splat(value, lanes);
}

ExprRef ExpressionLowering::extent_value(const Extent& extent) {
  if (!extent.depends_on_rows()) return make_integer(extent.maximum);
  if (extent.per_row == 1) return make_uniform("rows");
  return make_binary(Op::multiply, make_uniform("rows"), make_integer(extent.per_row));
}

ExprRef ExpressionLowering::lower(const ExprRef& e) {
  ExprRef value = lower_node(e);
  if (value->op == Op::constant || value->op == Op::variable || value->op == Op::uniform)
    return value;
  return builder_.bind(value, value->type.scalar == ScalarType::boolean ? "c" : "v");
}

ExprRef ExpressionLowering::lower_node(const ExprRef& e) {
  switch (e->op) {
    case Op::constant:
    case Op::uniform:
      return e;
    case Op::index:
      return finish(index_form(e));
    case Op::read:
      return load(*e, false);
    case Op::select:
      return lower_select(e);
    case Op::logical_and:
    case Op::logical_or:
      return lower_logic(e);
    case Op::rand:
    case Op::normal: {
      ExprRef position = builder_.bind(finish(index_form(e->operands[0])), "p");
      return make_random(e->op, e->integer, position, e->type.scalar);
    }
    case Op::convert: {
      const ExprRef& operand = e->operands[0];
      bool raw = operand->op == Op::read && !operand->has_else;
      ExprRef value = raw ? load(*operand, true) : lower(operand);
      if (is_integer(e->type.scalar) && e->type.scalar != ScalarType::i64) {
        // On K the value of i32(x) is an integer like any other: saturated to i32, computed with as
        // i64.
        ExprRef narrow = builder_.bind(make_convert(e->type.scalar, value), "v");
        return make_convert(ScalarType::i64, narrow);
      }
      if (value->type.scalar == e->type.scalar) return value;
      return make_convert(e->type.scalar, value);
    }
    case Op::stop_gradient:
    case Op::custom:
      FG_UNREACHABLE("`{}` after differentiation", spelling(e->op));
    default:
      break;
  }
  if (e->type.scalar == ScalarType::i64 &&
      (e->op == Op::add || e->op == Op::subtract || e->op == Op::multiply ||
       e->op == Op::floor_divide || e->op == Op::modulo || e->op == Op::negate)) {
    return finish(index_form(e));
  }
  std::vector<ExprRef> operands;
  int lanes = 1;
  for (const ExprRef& operand : e->operands) {
    operands.push_back(lower(operand));
    lanes = std::max(lanes, operands.back()->type.lanes);
  }
  for (ExprRef& operand : operands) operand = widen(operand, lanes);
  Expr node = *e;
  node.type.lanes = lanes;
  node.operands = std::move(operands);
  return make_node(std::move(node));
}

ExprRef ExpressionLowering::both(const ExprRef& a, const ExprRef& b) {
  if (a == nullptr) return b;
  if (b == nullptr || a == b) return a;
  int lanes = std::max(a->type.lanes, b->type.lanes);
  return builder_.bind(make_binary(Op::logical_and, widen(a, lanes), widen(b, lanes)), "c");
}

ExprRef ExpressionLowering::lower_logic(const ExprRef& e) {
  // The second operand counts only where the first does not decide, so its reads are guarded by the
  // first.
  ExprRef first = lower(e->operands[0]);
  ExprRef outer = guard_;
  ExprRef needed =
      e->op == Op::logical_and ? first : builder_.bind(make_unary(Op::logical_not, first), "c");
  guard_ = both(outer, needed);
  ExprRef second = lower(e->operands[1]);
  guard_ = outer;
  int lanes = std::max(first->type.lanes, second->type.lanes);
  return make_binary(e->op, widen(first, lanes), widen(second, lanes));
}

ExprRef ExpressionLowering::lower_select(const ExprRef& e) {
  ExprRef condition = lower(e->operands[0]);
  ExprRef outer = guard_;
  guard_ = both(outer, condition);
  ExprRef then_value = lower(e->operands[1]);
  guard_ = both(outer, builder_.bind(make_unary(Op::logical_not, condition), "c"));
  ExprRef else_value = lower(e->operands[2]);
  guard_ = outer;
  int lanes = std::max({condition->type.lanes, then_value->type.lanes, else_value->type.lanes});
  return make_select(widen(condition, lanes), widen(then_value, lanes), widen(else_value, lanes));
}

// ---- Integers.

IndexRanges ExpressionLowering::form_ranges(const ExprRef& form) const {
  IndexRanges ranges;
  ranges.add_rows(program_.batch);
  ranges.by_name[lane_index] = {0, lanes_ - 1};
  const IndexRanges& variables = builder_.ranges();
  // Of the names in the form only: a large kernel has thousands.
  walk(form, [&](const Expr& node) {
    if (node.op != Op::index && node.op != Op::variable) return;
    if (auto known = variables.by_name.find(node.name); known != variables.by_name.end()) {
      ranges.by_name.insert(*known);
    }
    if (auto vector = placeholders_.find(node.name); vector != placeholders_.end()) {
      if (vector->second.second) ranges.by_name[node.name] = *vector->second.second;
    }
  });
  return ranges;
}

ExprRef ExpressionLowering::placeholder(const ExprRef& vector_value,
                                        std::optional<Interval> range) {
  if (auto known = placeholder_of_.find(vector_value.get()); known != placeholder_of_.end()) {
    return make_index(known->second);
  }
  std::string name = fmt::format("$vector{}", placeholders_.size());
  placeholders_[name] = {vector_value, range};
  placeholder_of_[vector_value.get()] = name;
  return make_index(name);
}

/// The integer expression over L variables, the lane index and placeholders for vectors.
ExprRef ExpressionLowering::index_form(const ExprRef& e) {
  switch (e->op) {
    case Op::constant:
    case Op::uniform:
    case Op::variable:
      return e;
    case Op::index: {
      auto found = values_.find(e->name);
      FG_CHECK(found != values_.end(), "index `{}` has no value in kernel `{}`", e->name,
               kernel_.name);
      return found->second;
    }
    case Op::add:
    case Op::subtract:
    case Op::multiply:
    case Op::floor_divide:
    case Op::modulo:
    case Op::negate: {
      std::vector<ExprRef> operands;
      for (const ExprRef& operand : e->operands) operands.push_back(index_form(operand));
      return with_operands(*e, std::move(operands));
    }
    default: {
      ExprRef value = lower(e);
      std::optional<Interval> range = value_range(*e);
      if (value->type.lanes == 1) {
        if (range && value->op == Op::variable) builder_.set_range(value, *range);
        return value;
      }
      return placeholder(value, range);
    }
  }
}

bool ExpressionLowering::varies(const ExprRef& form) const {
  bool found = false;
  walk(form, [&](const Expr& node) { found = found || node.op == Op::index; });
  return found;
}

ExprRef ExpressionLowering::finish(const ExprRef& form) {
  ExprRef simple = simplify_integer(form, form_ranges(form));
  if (!varies(simple)) return simple;
  // Lane by lane; parts that do not vary stay scalar until they meet a vector.
  std::function<ExprRef(const ExprRef&)> vectorise = [&](const ExprRef& node) -> ExprRef {
    if (!varies(node))
      return make_splat(is_constant(node) ? node : builder_.bind(node, "at"), lanes_);
    if (node->op == Op::index) {
      if (node->name == lane_index) return make_iota(lanes_);
      return placeholders_.at(node->name).first;
    }
    std::vector<ExprRef> operands;
    for (const ExprRef& operand : node->operands) operands.push_back(vectorise(operand));
    Expr copy = *node;
    copy.type.lanes = lanes_;
    copy.operands = std::move(operands);
    return make_node(std::move(copy));
  };
  return vectorise(simple);
}

// ---- Memory.

bool ExpressionLowering::provably_inside(const ExprRef& index, const Extent& extent) const {
  std::optional<Interval> low = interval(index, kernel_ranges_);
  if (!low || low->min < 0) return false;
  ExprRef room = make_binary(Op::subtract, extent_value(extent), index);
  std::optional<Interval> high = interval(room, kernel_ranges_);
  return high && high->min >= 1;
}

/// The condition that the read is inside, of the parts that are not provable; null if it always is.
ExprRef ExpressionLowering::inside_test(const Expr& read, const Shape& shape,
                                        const std::vector<ExprRef>& forms) {
  ExprRef condition;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (provably_inside(read.operands[d], shape[d])) continue;
    ExprRef index = builder_.bind(finish(forms[d]), "at");
    ExprRef zero = widen(make_integer(0), index->type.lanes);
    ExprRef limit = widen(extent_value(shape[d]), index->type.lanes);
    condition = both(condition, builder_.bind(make_binary(Op::greater_equal, index, zero), "c"));
    condition = both(condition, builder_.bind(make_binary(Op::less, index, limit), "c"));
  }
  return condition;
}

ExprRef ExpressionLowering::clamped(const ExprRef& value, const ExprRef& clamp) {
  if (clamp == nullptr) return value;
  int lanes = std::max(value->type.lanes, clamp->type.lanes);
  return make_select(widen(clamp, lanes), widen(value, lanes), widen(make_integer(0), lanes));
}

ExprRef ExpressionLowering::local_position(const LocalMemory& memory,
                                           const std::vector<ExprRef>& own) const {
  ExprRef position = make_integer(0);
  for (size_t d = 0; d < own.size(); ++d) {
    position = make_binary(
        Op::add, make_binary(Op::multiply, position, make_integer(memory.own[d].end.maximum)),
        own[d]);
  }
  return make_binary(Op::add, make_binary(Op::multiply, position, make_integer(tile_elements_)),
                     tile_offset_);
}

ExprRef ExpressionLowering::buffer_position(const Buffer& buffer,
                                            const std::vector<ExprRef>& indices,
                                            const ExprRef& clamp) {
  ElementPosition element = element_position(buffer, indices);
  if (element.row == nullptr) return element.position;
  ExprRef row_form = simplify_integer(element.row, form_ranges(element.row));
  Address row_address = address(row_form, clamp);
  int lanes = row_address.contiguous ? lanes_ : row_address.at->type.lanes;
  ExprRef number =
      builder_.bind(make_load(row_list_name, ScalarType::i32, row_address.at, lanes), "row");
  number = builder_.bind(make_convert(ScalarType::i64, number), "row");
  Interval range{0, INT32_MAX};
  if (number->type.lanes == 1) {
    builder_.set_range(number, range);
  } else {
    number = placeholder(number, range);
  }
  return make_binary(Op::add, make_binary(Op::multiply, number, make_integer(element.row_size)),
                     element.position);
}

ExpressionLowering::Address ExpressionLowering::address(const ExprRef& form, const ExprRef& clamp) {
  IndexRanges ranges = form_ranges(form);
  LinearForm linear = linear_form(form, ranges);
  ExprRef simple = to_expr(linear);
  if (!varies(simple)) return {clamped(simple, clamp), false};
  bool others_vary =
      std::any_of(linear.terms.begin(), linear.terms.end(), [&](const LinearForm::Term& term) {
        bool is_lane = term.atom->op == Op::index && term.atom->name == lane_index;
        return !is_lane && varies(term.atom);
      });
  if (clamp == nullptr && !others_vary && coefficient_of(linear, lane_index) == 1) {
    return {simplify_integer(substitute(simple, {{lane_index, make_integer(0)}}), ranges), true};
  }
  return {clamped(finish(simple), clamp), false};
}

ExprRef ExpressionLowering::load(const Expr& read, bool raw) {
  std::vector<ExprRef> forms;
  for (size_t d = 0; d < read.index_count(); ++d) forms.push_back(index_form(read.operands[d]));
  auto local = locals_.find(read.name);
  const Buffer* buffer = local == locals_.end() ? buffers_.find(read.name) : nullptr;
  FG_CHECK(local != locals_.end() || buffer != nullptr,
           "kernel `{}` reads `{}`, which does not exist", kernel_.name, read.name);
  Shape shape;
  if (buffer != nullptr) {
    shape = buffer->shape;
  } else {
    for (const IndexRange& own : local->second.own) shape.push_back(own.end);
  }
  ExprRef inside;
  ExprRef clamp;
  if (read.has_else) {
    inside = inside_test(read, shape, forms);
    clamp = inside;
  } else if (guard_ != nullptr) {
    bool proven = true;
    for (size_t d = 0; d < shape.size() && proven; ++d)
      proven = provably_inside(read.operands[d], shape[d]);
    if (!proven) clamp = guard_;
  }
  if (tail_index_) {
    bool in_tail =
        std::any_of(read.operands.begin(), read.operands.end(),
                    [&](const ExprRef& index) { return mentions_index(index, *tail_index_); });
    if (in_tail) clamp = both(clamp, guard_);
  }
  ScalarType stored = buffer != nullptr ? buffer->type : local->second.type;
  std::string memory = buffer != nullptr ? buffer->name : local->second.name;
  ExprRef form = buffer != nullptr ? buffer_position(*buffer, forms, clamp)
                                   : local_position(local->second, forms);
  Address at = address(form, clamp);
  ExprRef value = builder_.bind(
      make_load(memory, stored, at.at, at.contiguous ? lanes_ : at.at->type.lanes), memory);
  if (!raw && is_integer(stored))
    value = builder_.bind(make_convert(ScalarType::i64, value), memory);
  if (inside != nullptr) {
    ExprRef other = lower(read.else_value());
    int lanes = std::max({inside->type.lanes, value->type.lanes, other->type.lanes});
    value = make_select(widen(inside, lanes), widen(value, lanes), widen(other, lanes));
  }
  return value;
}

ExprRef ExpressionLowering::stored_value(const ExprRef& value, ScalarType stored) {
  if (value->type.scalar == stored) return value;
  return make_convert(stored, value);
}

void ExpressionLowering::store_buffer(const Buffer& buffer, const std::vector<ExprRef>& indices,
                                      const ExprRef& value) {
  std::vector<ExprRef> forms;
  for (const ExprRef& index : indices) forms.push_back(index_form(index));
  Address at = address(buffer_position(buffer, forms, nullptr), nullptr);
  ExprRef ready = stored_value(value, buffer.type);
  builder_.store(buffer.name, at.at, at.contiguous || at.at->type.lanes > 1 ? widen(ready) : ready);
}

void ExpressionLowering::store_local(const std::string& local, const std::vector<ExprRef>& own,
                                     const ExprRef& value) {
  const LocalMemory& memory = locals_.at(local);
  std::vector<ExprRef> forms;
  for (const ExprRef& index : own) forms.push_back(index_form(index));
  Address at = address(local_position(memory, forms), nullptr);
  ExprRef ready = stored_value(value, memory.type);
  builder_.store(memory.name, at.at, at.contiguous || at.at->type.lanes > 1 ? widen(ready) : ready);
}

}  // namespace fusegrad::ir
