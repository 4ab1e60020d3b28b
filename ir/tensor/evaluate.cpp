// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T's evaluator.
#include "ir/tensor/evaluate.h"

#include <utility>

#include "ir/support/check.h"
#include "ir/tensor/statement_evaluate.h"

namespace fusegrad::ir {

std::vector<int64_t> sizes_at(const Shape& shape, int64_t rows) {
  std::vector<int64_t> sizes;
  for (const Extent& extent : shape) sizes.push_back(extent.at(rows));
  return sizes;
}

TensorValue given_value(const GivenTensor& wanted, const TensorValues& given, int64_t rows,
                        Precision precision) {
  auto found = given.find(wanted.name);
  FG_CHECK(found != given.end(), "no value is given for `{}`", wanted.name);
  TensorValue value = found->second;
  const size_t stored = is_real(value.type) ? value.reals.size() : value.integers.size();
  FG_CHECK(value.type == wanted.type && value.shape == sizes_at(wanted.shape, rows) &&
               stored == static_cast<size_t>(value.elements()),
           "the value given for `{}` has another type or shape", wanted.name);
  for (double& element : value.reals) element = round_to(value.type, precision, element);
  for (int64_t element : value.integers) {
    const bool in_range =
        !wanted.range || (element >= wanted.range->begin && element < wanted.range->end);
    FG_CHECK(in_range && wrap_to(value.type, element) == element,
             "`{}` is given the value {}, which is out of its range", wanted.name, element);
  }
  return value;
}

TensorValues evaluate(const TensorProgram& program, const TensorValues& given,
                      const Uniforms& uniforms, Precision precision) {
  FG_CHECK(uniforms.rows >= 1 && uniforms.rows <= program.batch, "{} rows of a batch of {}",
           uniforms.rows, program.batch);
  TensorValues values;
  for (const TensorDeclaration& declaration : program.declarations) {
    values[declaration.name] =
        given_value({declaration.name, declaration.type, declaration.shape, declaration.range},
                    given, uniforms.rows, precision);
  }
  const auto find = [&](std::string_view name) -> const TensorValue* {
    auto found = values.find(name);
    return found == values.end() ? nullptr : &found->second;
  };
  for (const TensorStatement& statement : program.statements) {
    std::vector<std::string> names;
    std::vector<IndexLoop> loops;
    for (const IndexRange& index : statement.indices) {
      loops.push_back({static_cast<int>(names.size()), 0, index.end.at(uniforms.rows)});
      names.push_back(index.name);
    }
    const StatementCode code(
        {statement.reduction, statement.binders, statement.condition, statement.value},
        statement.type, names, find, uniforms, precision);
    TensorValue result(statement.type, sizes_at(statement.shape(), uniforms.rows));
    std::vector<int64_t> indices(code.slots() + 1);
    int64_t position = 0;
    for_each_point(loops, indices.data(),
                   [&] { store(result, position++, code.compute(indices.data())); });
    values.insert_or_assign(statement.name, std::move(result));
  }
  // A name means its value before the step everywhere above; now the step ends.
  TensorValues updated;
  for (const TensorUpdate& update : program.updates)
    updated[update.target] = values.at(update.value);
  for (auto& [name, value] : updated) values[name] = std::move(value);
  return values;
}

}  // namespace fusegrad::ir
