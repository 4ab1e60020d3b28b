// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a program that fails to a small one that fails in the same way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ir/tensor/program.h"
#include "tests/programs/check.h"

namespace fusegrad::test {

/// Checks the program in a process of its own, so that a compiler that ends the process is a
/// failure like others ("ends the process"). `coverage` gets what was counted, unless it failed.
std::optional<ProgramFailure> check_alone(const ir::TensorProgram& program, uint64_t seed,
                                          Coverage& coverage);

struct Reduced {
  ir::TensorProgram program;
  ProgramFailure failure;
  int attempts = 0;
};

/// Drops statements, results, updates, declarations, conditions and binders, replaces expressions
/// by their operands and shrinks sizes as long as the program is well-formed and `check` fails.
Reduced reduce(const ir::TensorProgram& program, uint64_t seed, const std::string& check);

}  // namespace fusegrad::test
