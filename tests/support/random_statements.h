// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Small random T programs for the tests of grouping, scheduling, lowering and code generation:
// maps, windows with defaults, reshapes, reversed reads, masks, gathers, reductions of all kinds,
// parameters with updates, sizes around the vector width.
#pragma once

#include <cstdint>

#include "ir/tensor/evaluate.h"
#include "ir/tensor/program.h"

namespace fusegrad::test {

/// A verified program named "train": inputs real_input (f32), byte_input (u8) and index_input (i32
/// with a range), parameters, random statements, some results (outputs and a loss), updates. The
/// same for the same seed everywhere.
ir::TensorProgram random_statements(uint64_t seed);

/// Values for all declarations, within their ranges; reals are f32 numbers of moderate size.
ir::TensorValues random_values(const ir::TensorProgram& program, int64_t rows, uint64_t seed);

}  // namespace fusegrad::test
