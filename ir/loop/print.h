// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// L as text. ir/loop/parse.h reads it back; docs/ir.md describes it.
//
//   stage loops
//
//   program train batch 128 {
//     param dense.w: f32[784, 10] packed 1 by 8
//     buffer g: f32[rows, 10] at 0
//     arena 5120
//     func k0(row_list: ptr<i32>[128], image: ptr<u8>, mutable g: ptr<f32>[1280]) tasks(rows tile
//     8) {
//       let x = load image[0]
//       var acc = splat8(0.0)
//       stack l: f32[80]
//       for i = 0 to 784 step 1 {
//         acc = fma(acc, acc, acc)
//       }
//       if rows < 8 {
//         store l[0] = acc
//       } else {
//       }
//     }
//     launch { k0 }
//     result loss = objective
//   }
#pragma once

#include <string>

#include "ir/loop/program.h"

namespace fusegrad::ir {

/// A whole stage file: the line `stage loops`, then every program.
std::string print(const LoopModule& module);
/// One program, ending with a newline.
std::string print(const LoopProgram& program);
/// One function, ending with a newline, not indented. `real` is the type of the program's reals.
std::string print(const LoopFunction& function, ScalarType real = ScalarType::f32);
/// The statement without the blocks in it, on one line without a newline: `for i = 0 to 784 step
/// 1`. For messages.
std::string print_statement_head(const LoopStatement& statement, ScalarType real = ScalarType::f32);

}  // namespace fusegrad::ir
