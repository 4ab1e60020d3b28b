// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random differentiable T programs: what a model could have come from, with every kind of index map
// that the gradient's index solver knows. Also good for equality tests of later stages, before or
// after differentiation; values for the declarations: random_values (random_statements.h).
#pragma once

#include <cstdint>

#include "ir/tensor/program.h"

namespace fusegrad::test {

/// What may occur. Everything else about a program follows from the seed.
struct RandomProgramOptions {
  ir::ScalarType real = ir::ScalarType::f32;
  int64_t batch = 3;           ///< rows of a full batch
  int statements = 5;          ///< at most, without the ones that make the loss
  bool gathers = true;         ///< reads of integer tensors as indices
  bool masks = true;           ///< `where` conditions and `if`s
  bool reductions = true;      ///< max, min, argmax besides sum
  bool random_numbers = true;  ///< rand and normal
  bool kinks = true;           ///< max, min and abs of reals
};

/// A verified program `train`: inputs (reals, and integers with a range), parameters of rank 0 to
/// 3, statements over random index maps (strides, offsets, windows with `else`, reversed reads,
/// diagonals, reshapes, repeats, flattened batches, gathers), and a loss that depends on all real
/// tensors. Sizes are small (1 to 7), values moderate, slopes finite. The same for the same seed
/// and options everywhere.
ir::TensorProgram random_program(uint64_t seed, const RandomProgramOptions& options = {});

}  // namespace fusegrad::test
