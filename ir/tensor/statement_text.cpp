// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing and parsing of what statements of T and K have in common.
#include "ir/tensor/statement_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace fusegrad::ir {

std::string range_text(const IndexRange& range) {
  return fmt::format("{} in {}..{}", range.name, range.begin, spelling(range.end));
}

std::string range_list_text(const std::vector<IndexRange>& ranges) {
  std::string text;
  for (const IndexRange& range : ranges) {
    if (!text.empty()) text += ", ";
    text += range_text(range);
  }
  return text;
}

std::string right_side_text(const RightSide& right_side, const ExprTextOptions& options) {
  std::string value = print_expression(right_side.value, options);
  if (right_side.reduction == Reduction::none) return value;
  std::string where;
  if (right_side.condition != nullptr) {
    where = fmt::format(" where {}", print_expression(right_side.condition, options));
  }
  return fmt::format("{}({}{}: {})", spelling(right_side.reduction),
                     range_list_text(right_side.binders), where, value);
}

std::optional<IndexRange> parse_range(TextReader& reader, int64_t batch) {
  IndexRange range;
  range.name = reader.take_name("the name of an index");
  if (range.name.empty() || !reader.expect("in")) return std::nullopt;
  std::optional<int64_t> begin = reader.take_integer("the begin of a range");
  if (!begin || !reader.expect("..")) return std::nullopt;
  range.begin = *begin;
  if (reader.at("-")) {
    std::optional<int64_t> end = reader.take_integer("the end of a range");
    if (!end) return std::nullopt;
    range.end = Extent::number(*end);
    return range;
  }
  std::optional<Extent> end = reader.take_extent(batch);
  if (!end) return std::nullopt;
  range.end = *end;
  return range;
}

std::optional<IntegerRange> parse_integer_range(TextReader& reader) {
  std::optional<int64_t> begin = reader.take_integer("the begin of a range");
  if (!begin || !reader.expect("..")) return std::nullopt;
  std::optional<int64_t> end = reader.take_integer("the end of a range");
  if (!end) return std::nullopt;
  return IntegerRange{*begin, *end};
}

std::optional<RightSide> parse_right_side(TextReader& reader, int64_t batch,
                                          const std::vector<std::string>& indices,
                                          const NameResolver& tensors,
                                          const ExprTextOptions& options) {
  RightSide right_side;
  std::vector<std::string> scope = indices;
  NameResolver resolve = [&](std::string_view name, bool indexed) {
    if (!indexed && std::find(scope.begin(), scope.end(), name) != scope.end()) {
      return NameMeaning::index();
    }
    return tensors(name, indexed);
  };
  // `max(k in 0..3: ...)` is a reduction, `max(a, b)` an operator: only a binder is followed by
  // `in`.
  const std::optional<Reduction> reduction =
      reader.at_name() ? parse_reduction(reader.peek().text) : std::nullopt;
  if (reduction && reader.at("(", 1) && reader.at_name(2) && reader.at("in", 3)) {
    right_side.reduction = *reduction;
    reader.take();
    reader.take();
    do {
      std::optional<IndexRange> range = parse_range(reader, batch);
      if (!range) return std::nullopt;
      scope.push_back(range->name);
      right_side.binders.push_back(std::move(*range));
    } while (reader.accept(","));
    if (reader.accept("where")) {
      const Span span = reader.peek().span;
      right_side.condition = parse_expression(reader, resolve, options);
      if (right_side.condition == nullptr) return std::nullopt;
      if (!(right_side.condition->type == Type{ScalarType::boolean})) {
        reader.error(span, fmt::format("the condition of a reduction is {}, not bool",
                                       spelling(right_side.condition->type)));
        return std::nullopt;
      }
    }
    if (!reader.expect(":")) return std::nullopt;
  }
  right_side.value = parse_expression(reader, resolve, options);
  if (right_side.value == nullptr) return std::nullopt;
  if (right_side.reduction != Reduction::none && !reader.expect(")")) return std::nullopt;
  return right_side;
}

std::string parse_stage_line(TextReader& reader, const std::vector<std::string_view>& expected) {
  if (!reader.expect("stage")) return "";
  const Token name = reader.peek();
  if (std::find(expected.begin(), expected.end(), name.text) == expected.end()) {
    reader.error_expected(fmt::format("{}", fmt::join(expected, ", ")));
    return "";
  }
  return std::string(reader.take().text);
}

std::optional<ProgramHead> parse_program_head(TextReader& reader) {
  ProgramHead head;
  if (!reader.expect("program")) return std::nullopt;
  head.name = reader.take_name("the name of a program");
  if (!reader.expect("batch")) return std::nullopt;
  const Span span = reader.peek().span;
  std::optional<int64_t> batch = reader.take_integer("the number of rows of a batch");
  if (!batch) return std::nullopt;
  head.batch = *batch;
  // The row list of a batch holds 32-bit row numbers.
  if (head.batch < 1 || head.batch > INT32_MAX) {
    reader.error(span, "a batch has at least one row and at most 2147483647");
    return std::nullopt;
  }
  if (reader.accept("precision")) {
    const Span type_span = reader.peek().span;
    std::optional<ScalarType> real = reader.take_scalar_type();
    if (!real) return std::nullopt;
    if (!is_real(*real)) {
      reader.error(type_span, "the precision is f32 or f64");
      return std::nullopt;
    }
    head.real = *real;
  }
  if (!reader.expect("{")) return std::nullopt;
  return head;
}

std::string program_head_text(const ProgramHead& head) {
  return fmt::format("program {} batch {}{} {{\n", head.name, head.batch,
                     head.real == ScalarType::f64 ? " precision f64" : "");
}

std::optional<TensorResult> parse_result(TextReader& reader) {
  TensorResult result;
  bool found = false;
  for (TensorResultKind kind : tensor_result_kinds) {
    if (!found && reader.accept(spelling(kind))) {
      result.kind = kind;
      found = true;
    }
  }
  if (!found) {
    reader.error_expected("loss, metric, output, gradient, total, largest or smallest");
    return std::nullopt;
  }
  if (result.kind == TensorResultKind::loss) {
    result.label = "loss";
  } else {
    result.label = reader.take_name("the name of the result");
  }
  if (!reader.expect("=")) return std::nullopt;
  result.tensor = reader.take_name("the name of a tensor");
  if (reader.failed()) return std::nullopt;
  return result;
}

std::string result_text(const TensorResult& result) {
  if (result.kind == TensorResultKind::loss) return fmt::format("result loss = {}", result.tensor);
  return fmt::format("result {} {} = {}", spelling(result.kind), result.label, result.tensor);
}

}  // namespace fusegrad::ir
