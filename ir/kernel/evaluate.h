// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The meaning of K, executed: launch by launch, row instance by row instance, statements as in T
// (ir/tensor/evaluate.h). Schedule attributes, layouts and positions in the arena do not matter
// here: the values are those of the statements, `lanes` included (T sums in index order).
#pragma once

#include <cstdint>
#include <optional>

#include "ir/kernel/program.h"
#include "ir/tensor/evaluate.h"

namespace fusegrad::ir {

/// The order that a program must not depend on. By default kernels of a launch run from the last to
/// the first, so that one that reads what another of its launch writes is found out.
struct KernelOrder {
  bool reverse_kernels = true;
  /// Rows of each kernel in an order drawn from this seed; nothing: row-major.
  std::optional<uint32_t> shuffle_rows;
};

/// Runs `program` (verified). `given` holds inputs, parameters and states, as for T. What `inplace`
/// stores is changed at once. Returns all buffers. Anything that does not fit is our bug.
TensorValues evaluate(const KernelProgram& program, const TensorValues& given,
                      const Uniforms& uniforms, Precision precision, KernelOrder order = {});

}  // namespace fusegrad::ir
