// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Printing T: one line a declaration, statement, result and update.
#include "ir/tensor/print.h"

#include <fmt/format.h>

#include "ir/tensor/statement_text.h"

namespace fusegrad::ir {
namespace {

std::string_view spelling(TensorKind kind) {
  switch (kind) {
    case TensorKind::input:
      return "input";
    case TensorKind::parameter:
      return "param";
    case TensorKind::state:
      return "state";
  }
  return "?";
}

}  // namespace

std::string print(const TensorDeclaration& declaration) {
  std::string text = fmt::format("{} {}: {}[", spelling(declaration.kind), declaration.name,
                                 ir::spelling(declaration.type));
  for (size_t d = 0; d < declaration.shape.size(); ++d) {
    if (d != 0) text += ", ";
    text += ir::spelling(declaration.shape[d]);
  }
  text += ']';
  if (declaration.range) {
    text += fmt::format(" in {}..{}", declaration.range->begin, declaration.range->end);
  }
  for (const std::string& tag : declaration.tags) text += fmt::format(" @{}", tag);
  return text;
}

std::string print(const TensorStatement& statement, ScalarType real) {
  std::string indices;
  if (!statement.indices.empty()) {
    indices = fmt::format("[{}]", range_list_text(statement.indices));
  }
  const RightSide right_side = {statement.reduction, statement.binders, statement.condition,
                                statement.value};
  return fmt::format("{}{}: {} = {}", statement.name, indices, ir::spelling(statement.type),
                     right_side_text(right_side, {real, ExprLevel::tensor}));
}

std::string print(const TensorProgram& program) {
  std::string text = program_head_text({program.name, program.batch, program.real});
  for (const TensorDeclaration& declaration : program.declarations) {
    text += fmt::format("  {}\n", print(declaration));
  }
  for (const TensorStatement& statement : program.statements) {
    text += fmt::format("  {}\n", print(statement, program.real));
  }
  for (const TensorResult& result : program.results) {
    text += fmt::format("  {}\n", result_text(result));
  }
  for (const TensorUpdate& update : program.updates) {
    text += fmt::format("  {} <- {}\n", update.target, update.value);
  }
  return text + "}\n";
}

std::string print(const TensorModule& module, std::string_view stage) {
  std::string text = fmt::format("stage {}\n", stage);
  for (const TensorProgram& program : module.programs) text += fmt::format("\n{}", print(program));
  return text;
}

}  // namespace fusegrad::ir
