// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What random programs consist of, counted: statement forms, solver rules, fusion moves.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ir/kernel/program.h"
#include "ir/tensor/program.h"

namespace fusegrad::test {

/// Programs (not occurrences) by what they contain: "form: gather", "rule: R4", "move: in place".
class Coverage {
 public:
  /// Another program has this.
  void count(const std::string& what) { ++counts_[what]; }
  /// All lines of another one's text().
  void add_text(const std::string& text);
  int64_t of(const std::string& what) const;
  /// One line each, sorted: the number, then what was counted.
  std::string text() const;

 private:
  std::map<std::string, int64_t> counts_;
};

/// Statement forms of a forward program.
void count_forms(const ir::TensorProgram& forward, Coverage& coverage);
/// Rules by which the index maps of the reads are solved for their gradients.
void count_solver_rules(const ir::TensorProgram& forward, Coverage& coverage);
/// What grouping and scheduling did.
void count_moves(const ir::KernelProgram& scheduled, Coverage& coverage);

}  // namespace fusegrad::test
