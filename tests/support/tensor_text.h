// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T programs from text, for tests.
#pragma once

#include <string>
#include <string_view>

#include "ir/tensor/program.h"

namespace fusegrad::test {

/// The program with this text (without the line `stage ...`): "program train batch 4 { ... }". A
/// mistake in it, or a violation of the verifier's rules, fails the test and gives an empty
/// program.
ir::TensorProgram tensor_program(const std::string& text);

/// The lines that `print` gives for the statements from number `first` on, without indentation.
std::string statement_lines(const ir::TensorProgram& program, size_t first);

}  // namespace fusegrad::test
