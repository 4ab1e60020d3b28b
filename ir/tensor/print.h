// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// T as text. ir/tensor/parse.h reads it back; docs/ir.md describes it.
#pragma once

#include <string>
#include <string_view>

#include "ir/tensor/program.h"

namespace fusegrad::ir {

/// A whole stage file: the line `stage NAME`, then every program. `stage` is tensor, tensor.grad or
/// tensor.opt.
std::string print(const TensorModule& module, std::string_view stage);
/// One program, ending with a newline.
std::string print(const TensorProgram& program);
/// One line without a newline: `y[b in 0..rows]: f32 = sum(i in 0..4: x[b, i])`. `real` is the type
/// of the program's reals.
std::string print(const TensorStatement& statement, ScalarType real = ScalarType::f32);
/// One line without a newline: `param dense.w: f32[784, 10] @nodecay`.
std::string print(const TensorDeclaration& declaration);

}  // namespace fusegrad::ir
