// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rules that every K program keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/kernel/program.h"

namespace fusegrad::ir {

/// Elements that tiles and unrolling write out side by side for one statement.
inline constexpr int64_t maximum_unrolled = 4096;
/// Bytes of the locals of one tile: they lie on the stack of a thread.
inline constexpr int64_t maximum_local_bytes = int64_t{1} << 22;

/// Checks, for one row and for a full batch:
///   1. names of buffers, kernels, locals and indices are valid; buffers and kernels are unique in
///      the program, locals and indices in their kernel, and no local has the name of a buffer
///   2. buffers: sizes as in T; only integer inputs have ranges; only parameters, states and
///      temporaries are packed, by an existing dimension; derived buffers follow from an input
///      whose declared values they cover, and nothing stores them
///   3. statements: rules 2 to 6 of T (ir/tensor/verify.h), with the row indices in scope; a local
///      has own indices only and is defined before it is read
///   4. every element of what is stored is stored once: the left side has every row of the kernel
///      exactly once, and rows and own indices run over whole dimensions
///   5. `out` stores results and temporaries, each in one statement of the program; `inplace`
///      stores parameters and states, each in at most one
///   6. reads of results and temporaries are of buffers finished in an earlier launch
///   7. old values: what `inplace` overwrites is read in earlier launches or in the same kernel: by
///      the statement itself at its own element, or by a statement before it with the row indices
///      unchanged in the row positions; nobody else in its launch and nobody later reads it
///   8. schedule attributes: of an existing index, one of a kind for an index, at least 1; tile: a
///      row; vector: one row of the kernel, whose tile is a multiple of it; unroll: a row or an own
///      index; lanes: a binder of a sum that begins at 0, one for a statement. Vectors and lanes
///      have 2, 4, 8, ... 64 elements. What is written out side by side and the memory of the
///      locals of a tile are limited (the constants above);
///      segment: a row or own index that takes one value at a time, some sum without lanes has the
///      form, and the input's derived buffers exist and cover the index's values
///      (ir/kernel/segment.h)
///   9. the temporaries' places in the arena are good, if memory is planned (memory_check.h)
///  10. results are result buffers; one loss at most, a real of rank 0 like every metric
/// Returns the violations in words, each with the kernel and statement it is in; empty: the program
/// is good.
std::vector<std::string> verify(const KernelProgram& program);
/// All programs; their names are distinct, and parameters and states of one name have one type,
/// shape and layout.
std::vector<std::string> verify(const KernelModule& module);

/// A violation is our bug: ends the process with the violations and the text of the program.
/// `after` names the pass that made it.
void check_verified(const KernelProgram& program, std::string_view after);
void check_verified(const KernelModule& module, std::string_view after);

}  // namespace fusegrad::ir
