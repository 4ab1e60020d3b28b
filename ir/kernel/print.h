// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// K as text. ir/kernel/parse.h reads it back; docs/ir.md describes it.
//
//   stage kernels
//
//   program train batch 128 {
//     input image: u8[rows, 28, 28]  # 100352 bytes
//     param dense.w: f32[784, 10] packed 0 by 8  # 31360 bytes
//     buffer g: f32[rows, 10] at 0  # 5120 bytes
//     arena 5120
//     # peak of the buffers in use: 5120 bytes, in launch 1 of 2
//     launch {
//       kernel k0_g rows(b in 0..rows) schedule(tile b 8, vector b 8, lanes i 8, unroll o 10) {
//         local l[o in 0..10]: f32 = sum(i in 0..784: f32(image[b, i // 28, i % 28]) * dense.w[i,
//         o]) out g[b, o2 in 0..10]: f32 = exp(l[o2])
//       }
//     }
//     result loss = objective
//   }
//
// Bytes are those at the full batch, padding included; the peak is that of the temporaries, without
// what alignment adds. Both are comments, made anew by every print. Reads of a local carry its own
// indices only. Fusion remarks are not part of the text.
#pragma once

#include <string>

#include "ir/kernel/program.h"

namespace fusegrad::ir {

/// A whole stage file: the line `stage kernels`, then every program.
std::string print(const KernelModule& module);
/// One program, ending with a newline.
std::string print(const KernelProgram& program);
/// One line without a newline. `real` is the type of the program's reals.
std::string print(const KernelStatement& statement, ScalarType real = ScalarType::f32);

}  // namespace fusegrad::ir
