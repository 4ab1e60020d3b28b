// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Statements of T as they are added to the program: names, stored types, positions.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "frontend/elaborator.h"
#include "ir/expr_text.h"
#include "ir/support/check.h"

namespace fusegrad::frontend {

using ir::ExprRef;
using ir::Extent;
using ir::IndexRange;
using ir::Op;
using ir::ScalarType;

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

std::string Elaborator::unique_name(std::string_view base) {
  std::string candidate(base);
  const bool is_word = ir::is_uniform_name(base) || is_builtin_function(base) ||
                       ir::parse_scalar_type(base) || !ir::is_valid_name(base);
  auto is_taken = [&] {
    return current_->tensors.contains(candidate) || stable_names_.taken.contains(candidate);
  };
  if (!is_word && !is_taken()) return candidate;
  int& number = current_->next_number.try_emplace(candidate, 1).first->second;
  do {
    candidate = fmt::format("{}_{}", base, ++number);
  } while (is_taken());
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
  // The old expressions live to the end, and the names in them with them.
  const ExprRef condition = statement.condition;
  const ExprRef value = statement.value;
  std::vector<std::string_view> read;
  auto add_reads = [&](const ExprRef& e) {
    if (e == nullptr) return;
    ir::walk(e, [&](const ir::Expr& node) {
      if (node.op == Op::read || node.op == Op::uniform) read.push_back(node.name);
    });
  };
  add_reads(condition);
  add_reads(value);
  std::map<std::string, ExprRef> by_name;
  std::set<std::string, std::less<>> given;
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
      auto is_taken = [&] {
        return given.contains(name) || std::find(read.begin(), read.end(), name) != read.end();
      };
      for (int i = 2; (i == 2 && is_word) || is_taken(); ++i) name = fmt::format("{}_{}", base, i);
      given.insert(name);
      by_name[range.name] = ir::make_index(name);
      range.name = name;
    }
  }
  if (condition != nullptr) statement.condition = ir::substitute(condition, by_name);
  statement.value = ir::substitute(value, by_name);
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
    std::vector<IndexRange> indices = statement_->indices;
    indices.insert(indices.end(), statement.indices.begin(), statement.indices.end());
    if (std::optional<ir::Interval> bounds = value_interval(statement.value, indices)) {
      facts.range = ir::IntegerRange{bounds->min, bounds->max + 1};
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
