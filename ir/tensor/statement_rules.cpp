// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The checks of one statement. Everything is checked for one row and for a full batch: what depends
// on the number of rows does so linearly.
#include "ir/tensor/statement_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "ir/expr_types.h"
#include "ir/text_reader.h"

namespace fusegrad::ir {
namespace {

std::vector<int64_t> row_counts(int64_t batch) {
  if (batch <= 1) return {1};
  return {1, batch};
}

std::string end_text(int64_t end) {
  if (end >= ValueRange::unbounded || end <= -ValueRange::unbounded) return "any number";
  return fmt::format("{}", end);
}

/// Operators that exist on L only.
bool only_on_loops(Op op) {
  return op == Op::variable || op == Op::fma || op == Op::splat || op == Op::lane ||
         op == Op::iota || op == Op::bit_cast || op == Op::bit_and || op == Op::bit_or ||
         op == Op::bit_xor || op == Op::shift_left || op == Op::shift_right || op == Op::vector_sum;
}

class Checker {
 public:
  Checker(const StatementContext& context, const std::set<std::string>& indices,
          std::vector<std::string>& mistakes)
      : context_(context), indices_(indices), mistakes_(mistakes) {}

  /// Everything about `e` that does not need ranges. False: ranges must not be looked at.
  bool check_form(const ExprRef& e) {
    const size_t before = mistakes_.size();
    if (e->depth() > maximum_expression_depth) {
      add("an expression is nested more than {} levels deep", maximum_expression_depth);
      return false;
    }
    walk(e, [this](const Expr& node) { check_node(node); });
    return mistakes_.size() == before;
  }

  /// Reads and random numbers, for one number of rows.
  void check_ranges(const ExprRef& e, const RangeAnalysis& here) {
    walk_with_ranges(e, here, [this](const Expr& node, const RangeAnalysis& known) {
      if (node.op == Op::read && !node.has_else) check_read(node, known);
      if ((node.op == Op::rand || node.op == Op::normal) && !known.unreachable() &&
          known.range(node.operands[0]).min < 0) {
        add_once(fmt::format("the position `{}` of a random number may be negative",
                             print_expression(node.operands[0], {})));
      }
    });
  }

  template <typename... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    add_once(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

 private:
  void add_once(std::string mistake) {
    if (said_.insert(mistake).second) mistakes_.push_back(std::move(mistake));
  }

  void check_node(const Expr& node) {
    if (only_on_loops(node.op) || node.type.lanes != 1) {
      return add("`{}` of type {} exists on L only", spelling(node.op), spelling(node.type));
    }
    std::string mistake = type_mistake(node);
    if (!mistake.empty()) return add_once(std::move(mistake));
    const bool narrow = node.type.scalar == ScalarType::u8 || node.type.scalar == ScalarType::i32;
    if (narrow && node.op != Op::convert) {
      return add("`{}` computes with {}, which is for storage only", spelling(node.op),
                 spelling(node.type));
    }
    if (node.op == Op::index) {
      if (!indices_.contains(node.name)) add("there is no index `{}` here", node.name);
      if (!(node.type == Type{ScalarType::i64})) add("the index `{}` is not i64", node.name);
    }
    if (node.op == Op::uniform) {
      if (!is_uniform_name(node.name)) add("there is no uniform `{}`", node.name);
      if (!(node.type == Type{ScalarType::i64})) add("the uniform `{}` is not i64", node.name);
    }
    if (node.op == Op::read) check_read_form(node);
    if (node.op == Op::floor_divide || node.op == Op::modulo) {
      const ExprRef& divisor = node.operands[1];
      if (!is_constant(divisor) || divisor->integer <= 0) {
        add("the divisor `{}` of `{}` is not a positive constant", print_expression(divisor, {}),
            spelling(node.op));
      }
    }
    if ((node.op == Op::rand || node.op == Op::normal) &&
        (node.integer < 0 || node.integer > UINT32_MAX)) {
      add("the stream {} does not fit 32 bits", node.integer);
    }
  }

  void check_read_form(const Expr& node) {
    const ReadableTensor* tensor = context_.find(node.name);
    if (tensor == nullptr) return add("there is no tensor `{}` before this statement", node.name);
    if (node.index_count() != tensor->shape.size()) {
      return add("`{}` has rank {} but is read with {} indices", node.name, tensor->shape.size(),
                 node.index_count());
    }
    if (!(node.type == Type{value_type(tensor->type)})) {
      add("the read of `{}` is marked as {} but its elements are {}", node.name,
          spelling(node.type), spelling(tensor->type));
    }
    if (tensor->shape.empty() && indices_.contains(node.name)) {
      add("`{}` names both an index and a tensor of rank 0 here", node.name);
    }
  }

  void check_read(const Expr& node, const RangeAnalysis& known) {
    const ReadableTensor* tensor = context_.find(node.name);
    for (size_t d = 0; d < tensor->shape.size(); ++d) {
      const int64_t extent = tensor->shape[d].at(known.rows());
      if (known.proves_within(node.operands[d], extent)) continue;
      const std::string place = fmt::format("{} of `{}`", d, node.name);
      if (!out_of_range_.insert(place + print_expression(node.operands[d], {})).second) continue;
      const ValueRange values = known.range(node.operands[d]);
      add("index `{}` may be {} to {}, but dimension {} is 0..{}{}",
          print_expression(node.operands[d], {}), end_text(values.min), end_text(values.max), place,
          extent,
          tensor->shape[d].depends_on_rows() ? fmt::format(" for {} rows", known.rows()) : "");
    }
  }

  const StatementContext& context_;
  const std::set<std::string>& indices_;
  std::vector<std::string>& mistakes_;
  std::set<std::string> said_;
  std::set<std::string> out_of_range_;
};

/// What is known where the value of the statement is computed (`with_condition`), or its condition.
RangeAnalysis analysis_of(const RightSide& right_side, const std::vector<IndexRange>& indices,
                          const StatementContext& context, int64_t rows, bool with_condition) {
  RangeAnalysis known(rows);
  for (const std::vector<IndexRange>* ranges : {&indices, &right_side.binders}) {
    for (const IndexRange& range : *ranges) {
      known.add_index(range.name, range.begin, range.end.at(rows));
    }
  }
  auto add_tensors = [&](const ExprRef& e) {
    walk(e, [&](const Expr& node) {
      if (node.op != Op::read || !is_integer(node.type.scalar)) return;
      if (const ReadableTensor* tensor = context.find(node.name)) {
        known.add_tensor(node.name, tensor->values);
      }
    });
  };
  add_tensors(right_side.value);
  if (right_side.condition != nullptr) {
    add_tensors(right_side.condition);
    if (with_condition) known.assume(right_side.condition);
  }
  return known;
}

void check_types(const RightSide& right_side, ScalarType type, std::vector<std::string>& mistakes) {
  const Type value = right_side.value->type;
  auto add = [&](std::string mistake) { mistakes.push_back(std::move(mistake)); };
  switch (right_side.reduction) {
    case Reduction::none:
    case Reduction::sum:
    case Reduction::max:
    case Reduction::min:
      if (!(value == Type{type}) && !(value == Type{value_type(type)})) {
        add(fmt::format("a value of type {} for elements of {}", spelling(value), spelling(type)));
      } else if (right_side.reduction != Reduction::none && type == ScalarType::boolean) {
        add(fmt::format("`{}` needs numbers, not bool", spelling(right_side.reduction)));
      }
      return;
    case Reduction::argmax:
    case Reduction::argmin: {
      if (type != ScalarType::i32) {
        add(fmt::format("`{}` gives i32, not {}", spelling(right_side.reduction), spelling(type)));
      }
      if (value.scalar == ScalarType::boolean) {
        add(fmt::format("`{}` needs numbers, not bool", spelling(right_side.reduction)));
      }
      Shape points;
      for (const IndexRange& binder : right_side.binders) {
        points.push_back(Extent::number(binder.end.maximum - binder.begin));
      }
      const std::optional<int64_t> count = element_count(points);
      if (!count || *count > INT32_MAX) {
        add(fmt::format("`{}` over more points than i32 can count",
                        spelling(right_side.reduction)));
      }
      return;
    }
    case Reduction::any:
    case Reduction::all:
      if (!(value == Type{ScalarType::boolean}) || type != ScalarType::boolean) {
        add(fmt::format("`{}` of {} for elements of {}", spelling(right_side.reduction),
                        spelling(value), spelling(type)));
      }
      return;
  }
}

/// A power is at most `unbounded`, so products of two ranges stay within 128 bits.
int64_t clamp_to_range(__int128 value) {
  if (value > ValueRange::unbounded) return ValueRange::unbounded;
  if (value < -ValueRange::unbounded) return -ValueRange::unbounded;
  return static_cast<int64_t>(value);
}

}  // namespace

void check_name(std::string_view name, std::vector<std::string>& mistakes) {
  if (!is_valid_name(name)) {
    mistakes.push_back(fmt::format("`{}` is not a valid name", name));
  } else if (is_uniform_name(name)) {
    mistakes.push_back(fmt::format("`{}` is the name of a uniform", name));
  }
}

void check_shape(const Shape& shape, int64_t batch, std::string_view name,
                 std::vector<std::string>& mistakes) {
  for (const Extent& extent : shape) {
    if (extent.maximum < 1 || extent.per_row < 0) {
      mistakes.push_back(fmt::format("a size of `{}` is not positive", name));
    }
    if (extent.per_row > 0 && checked_multiply(batch, extent.per_row) != extent.maximum) {
      mistakes.push_back(fmt::format("a size of `{}` is {} but at most {}, with a batch of {}",
                                     name, spelling(extent), extent.maximum, batch));
    }
  }
  if (!element_count(shape)) {
    mistakes.push_back(fmt::format("the number of elements of `{}` does not fit 63 bits", name));
  }
}

void check_ranges(const std::vector<IndexRange>& ranges, bool begin_at_zero, int64_t batch,
                  std::vector<std::string>& mistakes) {
  std::set<std::string_view> names;
  for (const IndexRange& range : ranges) {
    check_name(range.name, mistakes);
    if (!names.insert(range.name).second) {
      mistakes.push_back(fmt::format("the index `{}` occurs twice", range.name));
    }
    if (begin_at_zero && range.begin != 0) {
      mistakes.push_back(
          fmt::format("the index `{}` begins at {}, not at 0", range.name, range.begin));
    }
    // The sizes of the ranges are sizes of loops; keep them countable.
    constexpr int64_t limit = INT64_MAX / 8;
    if (range.begin > range.end.maximum || range.begin < -limit || range.end.maximum > limit) {
      mistakes.push_back(
          fmt::format("the range of `{}` ends before it begins, or is too long", range.name));
    }
    if (range.end.per_row < 0 ||
        (range.end.per_row > 0 &&
         checked_multiply(batch, range.end.per_row) != range.end.maximum)) {
      mistakes.push_back(
          fmt::format("the range of `{}` does not agree with a batch of {}", range.name, batch));
    }
  }
}

void check_right_side(const RightSide& right_side, ScalarType type,
                      const std::vector<IndexRange>& indices, const StatementContext& context,
                      std::vector<std::string>& mistakes) {
  const size_t before = mistakes.size();
  if (right_side.value == nullptr) {
    mistakes.push_back("there is no value");
    return;
  }
  if ((right_side.reduction == Reduction::none) != right_side.binders.empty()) {
    mistakes.push_back(right_side.binders.empty() ? "a reduction without a binder"
                                                  : "a map with a binder");
  }
  if (right_side.reduction == Reduction::none && right_side.condition != nullptr) {
    mistakes.push_back("a map with a condition");
  }
  check_ranges(right_side.binders, false, context.batch, mistakes);
  std::set<std::string> scope;
  for (const IndexRange& index : indices) scope.insert(index.name);
  for (const IndexRange& binder : right_side.binders) {
    if (scope.contains(binder.name)) {
      mistakes.push_back(fmt::format("the binder `{}` hides an index", binder.name));
    }
  }
  for (const IndexRange& binder : right_side.binders) scope.insert(binder.name);
  Checker checker(context, scope, mistakes);
  if (right_side.condition != nullptr) {
    checker.check_form(right_side.condition);
    if (!(right_side.condition->type == Type{ScalarType::boolean})) {
      checker.add("the condition is {}, not bool", spelling(right_side.condition->type));
    }
  }
  checker.check_form(right_side.value);
  check_types(right_side, type, mistakes);
  if (mistakes.size() != before) return;  // ranges of ill-formed expressions mean nothing
  for (int64_t rows : row_counts(context.batch)) {
    if (right_side.condition != nullptr) {
      checker.check_ranges(right_side.condition,
                           analysis_of(right_side, indices, context, rows, false));
    }
    checker.check_ranges(right_side.value, analysis_of(right_side, indices, context, rows, true));
  }
}

ValueRange values_of_declared(ScalarType type, const std::optional<IntegerRange>& range) {
  ValueRange values = range_of_type(type);
  if (range) {
    values.min = std::max(values.min, range->begin);
    values.max = std::min(values.max, range->end - 1);
  }
  return values;
}

ValueRange values_of_statement(const RightSide& right_side, ScalarType type,
                               const std::vector<IndexRange>& indices,
                               const StatementContext& context) {
  const ValueRange limits = range_of_type(type);
  if (!is_integer(type)) return limits;
  ValueRange values = {1, 0};
  for (int64_t rows : row_counts(context.batch)) {
    const RangeAnalysis known = analysis_of(right_side, indices, context, rows, true);
    __int128 points = 1;
    for (const IndexRange& binder : right_side.binders) {
      points *= std::max<int64_t>(0, binder.end.at(rows) - binder.begin);
      if (points > ValueRange::unbounded) points = ValueRange::unbounded;
    }
    const bool may_be_empty = right_side.condition != nullptr || points == 0;
    ValueRange here;
    switch (right_side.reduction) {
      case Reduction::none:
        here = known.range(right_side.value);
        break;
      case Reduction::sum: {
        const ValueRange one = known.range(right_side.value);
        here = {clamp_to_range(std::min<__int128>(0, points * one.min)),
                clamp_to_range(std::max<__int128>(0, points * one.max))};
        break;
      }
      case Reduction::max:
      case Reduction::min:
        // Empty ones give the smallest or largest number of the type.
        here = may_be_empty ? limits : known.range(right_side.value);
        break;
      case Reduction::argmax:
      case Reduction::argmin:
        here = {0, clamp_to_range(std::max<__int128>(0, points - 1))};
        break;
      case Reduction::any:
      case Reduction::all:
        here = {0, 1};
        break;
    }
    if (here.min > here.max) continue;
    if (values.min > values.max) values = here;
    values = {std::min(values.min, here.min), std::max(values.max, here.max)};
  }
  // A value that does not fit the type wraps when it is stored.
  return values.min >= limits.min && values.max <= limits.max ? values : limits;
}

}  // namespace fusegrad::ir
