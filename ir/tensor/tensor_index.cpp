// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Numbers instead of pointers: the lists may move while they grow.
#include "ir/tensor/tensor_index.h"

namespace fusegrad::ir {

TensorIndex::TensorIndex(const TensorProgram& program) {
  for (const TensorDeclaration& declaration : program.declarations) added(declaration);
  for (const TensorStatement& statement : program.statements) added(statement);
}

const TensorStatement* TensorIndex::statement(const TensorProgram& program,
                                              const std::string& name) const {
  auto found = statements_.find(name);
  return found == statements_.end() ? nullptr : &program.statements[found->second];
}

const TensorDeclaration* TensorIndex::declaration(const TensorProgram& program,
                                                  const std::string& name) const {
  auto found = declarations_.find(name);
  return found == declarations_.end() ? nullptr : &program.declarations[found->second];
}

void TensorIndex::added(const TensorStatement& statement) {
  statements_.emplace(statement.name, statements_.size());
  taken_.insert(statement.name);
}

void TensorIndex::added(const TensorDeclaration& declaration) {
  declarations_.emplace(declaration.name, declarations_.size());
  taken_.insert(declaration.name);
}

}  // namespace fusegrad::ir
