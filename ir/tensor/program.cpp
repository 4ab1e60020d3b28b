// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Look-ups in tensor programs.
#include "ir/tensor/program.h"

#include <fmt/format.h>

namespace fusegrad::ir {

std::string_view spelling(Reduction reduction) {
  switch (reduction) {
    case Reduction::none:
      return "";
    case Reduction::sum:
      return "sum";
    case Reduction::max:
      return "max";
    case Reduction::min:
      return "min";
    case Reduction::argmax:
      return "argmax";
    case Reduction::argmin:
      return "argmin";
    case Reduction::any:
      return "any";
    case Reduction::all:
      return "all";
  }
  return "?";
}

std::optional<Reduction> parse_reduction(std::string_view text) {
  for (Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min, Reduction::argmax,
                              Reduction::argmin, Reduction::any, Reduction::all}) {
    if (spelling(reduction) == text) return reduction;
  }
  return std::nullopt;
}

std::string_view spelling(TensorResultKind kind) {
  switch (kind) {
    case TensorResultKind::loss:
      return "loss";
    case TensorResultKind::metric:
      return "metric";
    case TensorResultKind::output:
      return "output";
    case TensorResultKind::gradient:
      return "gradient";
    case TensorResultKind::total:
      return "total";
    case TensorResultKind::largest:
      return "largest";
    case TensorResultKind::smallest:
      return "smallest";
  }
  return "?";
}

Shape TensorStatement::shape() const {
  Shape shape;
  for (const IndexRange& index : indices) shape.push_back(index.end);
  return shape;
}

const TensorDeclaration* TensorProgram::find_declaration(std::string_view tensor) const {
  for (const TensorDeclaration& declaration : declarations) {
    if (declaration.name == tensor) return &declaration;
  }
  return nullptr;
}

std::set<std::string> tensors_needed_by(const TensorProgram& program, TensorResultKind kind) {
  std::set<std::string> needed;
  for (const TensorResult& result : program.results) {
    if (result.kind == kind) needed.insert(result.tensor);
  }
  // Statements stand behind what they read, so one pass from the end finds all.
  for (auto statement = program.statements.rbegin(); statement != program.statements.rend();
       ++statement) {
    if (!needed.contains(statement->name)) continue;
    for (const ExprRef& e : {statement->condition, statement->value}) {
      if (e == nullptr) continue;
      walk(e, [&](const Expr& node) {
        if (node.op == Op::read) needed.insert(node.name);
      });
    }
  }
  return needed;
}

const TensorStatement* TensorProgram::find_statement(std::string_view tensor) const {
  for (const TensorStatement& statement : statements) {
    if (statement.name == tensor) return &statement;
  }
  return nullptr;
}

std::optional<Shape> TensorProgram::shape_of(std::string_view tensor) const {
  if (const TensorDeclaration* declaration = find_declaration(tensor)) return declaration->shape;
  if (const TensorStatement* statement = find_statement(tensor)) return statement->shape();
  return std::nullopt;
}

std::optional<ScalarType> TensorProgram::type_of(std::string_view tensor) const {
  if (const TensorDeclaration* declaration = find_declaration(tensor)) return declaration->type;
  if (const TensorStatement* statement = find_statement(tensor)) return statement->type;
  return std::nullopt;
}

std::string TensorProgram::fresh_name(std::string_view base) const {
  std::string candidate(base);
  for (int i = 2; find_declaration(candidate) != nullptr || find_statement(candidate) != nullptr;
       ++i) {
    candidate = fmt::format("{}_{}", base, i);
  }
  return candidate;
}

std::string fresh_name(std::string_view base, const std::set<std::string>& taken) {
  std::string candidate(base);
  for (int i = 2; taken.contains(candidate); ++i) candidate = fmt::format("{}_{}", base, i);
  return candidate;
}

TensorProgram* TensorModule::find(std::string_view name) {
  for (TensorProgram& program : programs) {
    if (program.name == name) return &program;
  }
  return nullptr;
}

const TensorProgram* TensorModule::find(std::string_view name) const {
  return const_cast<TensorModule*>(this)->find(name);
}

}  // namespace fusegrad::ir
