// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tensors of a program by name, for work over a whole program: looking through the lists for every
// name would make it quadratic.
#pragma once

#include <set>
#include <string>
#include <unordered_map>

#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// Statements and declarations by name, and the names that are taken. Stays true while statements
/// and declarations are appended, if it is told.
class TensorIndex {
 public:
  explicit TensorIndex(const TensorProgram& program);

  /// Null if there is none. `program` is the one that the index was made for.
  const TensorStatement* statement(const TensorProgram& program, const std::string& name) const;
  const TensorDeclaration* declaration(const TensorProgram& program, const std::string& name) const;
  bool is_taken(const std::string& name) const { return taken_.contains(name); }
  /// As TensorProgram::fresh_name.
  std::string fresh_name(const std::string& base) const { return ir::fresh_name(base, taken_); }

  /// Was just appended to the program.
  void added(const TensorStatement& statement);
  void added(const TensorDeclaration& declaration);

 private:
  std::unordered_map<std::string, size_t> declarations_;
  std::unordered_map<std::string, size_t> statements_;
  std::set<std::string> taken_;
};

}  // namespace fusegrad::ir
